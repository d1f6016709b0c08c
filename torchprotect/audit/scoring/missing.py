"""Attacks that an audit does not run, and why."""

from collections.abc import Sequence

from torchprotect.attacks import ATTACKS, Attack, Level, Scheme
from torchprotect.attacks.scheme import SCRAMBLING
from torchprotect.audit.report.finding import NotRun

_OF_SCRAMBLING = (
    NotRun(
        "small_seed_search",
        Level.KNOWN_PAIRS,
        "keys of this package are drawn from the operating system's entropy, not from a seed: there is none to try",
        "not included",
        "Search of small seeds",
    ),
    NotRun(
        "label_probe (the cloud's answers)",
        Level.KNOWN_PAIRS,
        "an export holds no answers of a cloud: run attacks.label_probe on the answers of yours",
        "not included",
        "Label probe with a cloud's answers",
    ),
)
_OF_PERTURBED = (
    NotRun(
        "train_and_watch (adversarial training)",
        Level.PUBLIC_DATA,
        "takes several times as long as the other trainings: run attacks.train_and_watch with adversarial=",
        "not included",
        "Adversarial training",
    ),
    NotRun(
        "AVATAR, LE-JCDP",
        Level.PUBLIC_DATA,
        "need a diffusion model of such images, which this package does not have",
        "not included",
        "Purification by diffusion models (AVATAR, LE-JCDP)",
    ),
    NotRun(
        "BridgePure",
        Level.KNOWN_PAIRS,
        "trains a diffusion bridge on pairs; not in this version; purify_by_pairs applies its idea with one network",
        "not included",
        "Purification by a diffusion bridge (BridgePure)",
    ),
    NotRun(
        "D-VAE",
        Level.PUBLIC_DATA,
        "purifies by an autoencoder that is trained on the release alone; not in this version",
        "not included",
        "Purification by an autoencoder (D-VAE)",
    ),
    NotRun(
        "UEraser",
        Level.PUBLIC_DATA,
        "searches for the augmentation with the highest loss; not in this version; strong_augmentation draws at random",
        "not included",
        "Adversarial augmentation (UEraser)",
    ),
    NotRun(
        "UDP",
        Level.PUBLIC_DATA,
        "detects perturbed data, and trains with noise that a simple network makes; not in this version",
        "not included",
        "Detection and defense by simple networks (UDP)",
    ),
    NotRun(
        "NLT4UD",
        Level.PUBLIC_DATA,
        "not in this version",
        "not included",
        "Nonlinear transformations (arXiv 2406.02883)",
    ),
    NotRun(
        "COIN, RSK",
        Level.PUBLIC_DATA,
        "made for perturbations by convolution, which these are not; not in this version",
        "not included",
        "Random interpolation or sharpening (COIN, RSK)",
    ),
    NotRun(
        "LightShed",
        Level.PUBLIC_DATA,
        "made for perturbations against image generators; not in this version",
        "not included",
        "Detection and removal (LightShed)",
    ),
)
"""Known countermeasures that are not in the table of attacks: those listed beside the survey arXiv 2503.23536, and
some more. The list is not complete."""
_OF_MATRICES = NotRun(
    "Independent component analysis",
    Level.PUBLIC_DATA,
    "found less than match_moments wherever both were tried",
    "not included",
)
_NOT_CHOSEN = "not among the requested attacks"
_NOT_BUILT = (
    NotRun("Unpaired learned inversion (GAN)", Level.PUBLIC_DATA, "not in this version", "not included"),
    NotRun(
        "Chosen plaintext",
        Level.CHOSEN_PLAINTEXT,
        "needs online use of the key; chosen pairs reveal what known pairs do, with fewer of them",
        "not included",
    ),
    NotRun("Partial key", Level.PARTIAL_KEY, "not in this version", "not included"),
)


def left_out(scheme: Scheme, chosen: Sequence[Attack]) -> list[NotRun]:
    """Return attacks that could be tried on a disguise, apart from the chosen ones."""
    names = {attack.name for attack in chosen}
    others = [attack for attack in ATTACKS if attack.name not in names and attack.reason(scheme) is None]
    found = [_not_requested(attack) for attack in others]
    if scheme.name == SCRAMBLING:
        found += _OF_SCRAMBLING
    if scheme.name == "RMTDisguise":
        found.append(_OF_MATRICES)
    if scheme.readable:  # no key protects the pictures
        found += _OF_PERTURBED
        return found + [each for each in _NOT_BUILT if each.level is not Level.PARTIAL_KEY]
    return found + list(_NOT_BUILT)


def _not_requested(attack: Attack) -> NotRun:
    """Return an attack that applies but was not run: because it is long, or because others were chosen."""
    if attack.long:
        return NotRun.of(attack, attack.long, "not included")
    return NotRun.of(attack, _NOT_CHOSEN, "not chosen")
