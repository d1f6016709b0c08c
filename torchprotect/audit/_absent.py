"""Attacks that no audit of this version runs, and why."""

from torchprotect.attacks import Level
from torchprotect.audit._encoder import SCRAMBLING
from torchprotect.audit._scheme import Scheme
from torchprotect.audit.report.finding import NotRun

_PERTURBATION = (
    (
        "recover_correspondence",
        "needs a network trained on the release and m x m searches by gradients: run it by itself",
    ),
    ("read_correspondence_from_victim", "needs a network trained on the release at length: run it by itself"),
    ("read_correspondence_from_data", "needs the natural confusions of a strong clean network: run it by itself"),
    ("hypothesis_accuracy", "needs a network trained on the release and a plan to test: run it by itself"),
    ("train_and_watch", "needs full trainings, also adversarial ones: run it by itself"),
    ("squeeze_jpeg", "followed by a full training: run it by itself"),
    ("orthogonal_projection", "followed by a full training: run it by itself"),
    ("adapt_gta", "several full trainings: run it by itself"),
)
_SCRAMBLING = (
    (
        "small_seed_search",
        "keys of this package are drawn from the operating system's entropy, not from a seed: there is none to try",
    ),
    (
        "label_probe (the cloud's answers)",
        "an export holds no answers of a cloud: run attacks.label_probe on those that yours gave",
    ),
)


def absent(scheme: Scheme) -> list[NotRun]:
    """Return what is missing for a disguise, beyond what its checks say of themselves."""
    found = [
        NotRun(name, Level.PUBLIC_DATA, reason, "not included") for name, reason in _PERTURBATION if scheme.readable
    ]
    if scheme.name == SCRAMBLING:
        found += [NotRun(name, Level.KNOWN_PAIRS, reason, "not included") for name, reason in _SCRAMBLING]
    found += [
        NotRun("unpaired learned inversion (GAN)", Level.PUBLIC_DATA, "not in this version", "not included"),
        NotRun("ICA and PCA matching", Level.PUBLIC_DATA, "not in this version", "not included"),
        NotRun(
            "chosen plaintext",
            Level.CHOSEN_PLAINTEXT,
            "needs online use of the key; what known pairs give, chosen ones give with fewer",
            "not included",
        ),
        NotRun("partial key", Level.PARTIAL_KEY, "not in this version", "not included"),
    ]
    return found if not scheme.readable else [each for each in found if each.level is not Level.PARTIAL_KEY]
