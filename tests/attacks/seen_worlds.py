"""What an attacker sees of each disguise, in small: bars in four places, disguised by transforms with fresh keys."""

import functools
import warnings
from dataclasses import replace

import torch
from nets import Function
from support import make_image
from torch import Tensor, nn

from torchprotect import data, keys, predict, transforms
from torchprotect.attacks import Attack, MatchedNetworks, Pairs, Scheme, Seen
from torchprotect.errors import InputTypeError, KeyInWeightsWarning

CLASSES, SIZE, BLOCK = 4, (16, 16), (4, 4)
COUNT = 48  # images of each kind: disguised, public, and in pairs
SIZES = {"image_size": SIZE, "block_size": BLOCK}


def bars(count: int, seed: int, channels: int = 3) -> tuple[Tensor, Tensor]:
    """Draw uint8 images with a bright bar in one of four places, which is their class."""
    labels = torch.arange(count) % CLASSES
    images = make_image(count, channels, *SIZE, seed=seed) // 8
    for image, label in zip(images, labels.tolist(), strict=True):
        image[:, 4 * label : 4 * label + 4, 2:14] += 150
    return images, labels


def encoder(images: Tensor) -> Tensor:
    """Return eight numbers of each image, in place of a network's embeddings."""
    return (
        nn.functional.adaptive_avg_pool2d(images.float() / (255 if images.dtype == torch.uint8 else 1), (4, 2))
        .mean(1)
        .flatten(1)
    )


def matched(name: str):
    """Return a small network matched to a disguise, and its original; nothing for a disguise that is not linear."""
    if name not in ("BlockPermute", "RMTDisguise"):
        return None
    torch.manual_seed(0)
    original = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE[0] * SIZE[1], 16))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KeyInWeightsWarning)
        return MatchedNetworks(predict.match_key(original, disguises()[name], mean=0.4, std=0.3), original, 0.3)


NAMES = (
    "AESECBDisguise",
    "RMTDisguise",
    "BlockPermute",
    "AdversarialEncrypt",
    "OWSDScramble",
    "RMTDisguise without noise",
)


@functools.cache
def disguises():
    """Return a disguise of each kind."""
    order = keys.PermutationKey.generate(**SIZES)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIZE[0] * SIZE[1], CLASSES))
    correspondence = keys.CorrespondenceKey.generate(classes=CLASSES)
    scrambling = keys.OWSDKey.generate(embedding_size=8, image_size=(32, 32), width=8)
    return {
        "AESECBDisguise": transforms.AESECBDisguise(keys.AESKey.generate(**SIZES), permutation=order),
        "RMTDisguise": transforms.RMTDisguise(keys.RMTKey.generate(**SIZES), permutation=order, noise=10),
        "RMTDisguise without noise": transforms.RMTDisguise(keys.RMTKey.generate(**SIZES), permutation=order),
        "BlockPermute": transforms.BlockPermute(order),
        "AdversarialEncrypt": transforms.AdversarialEncrypt(network, correspondence, eps=0.5, step_size=0.2, steps=3),
        "OWSDScramble": transforms.OWSDScramble(Function(encoder).eval(), scrambling),
    }


@functools.cache
def world(name: str) -> Seen:
    """Return all that is known of a disguise, to attackers of any level, but its folder."""
    disguise = disguises()[name]
    (plain, labels), (public, public_labels), (known, known_labels) = (bars(COUNT, seed) for seed in (1, 2, 3))

    def disguised(images: Tensor, classes: Tensor) -> Tensor:
        done = disguise(images, classes) if name == "AdversarialEncrypt" else disguise(images)
        return done[0] if isinstance(done, tuple) else done

    return Seen(
        Scheme.of(disguise.describe()),
        disguised(plain, labels),
        targets=COUNT // 2,
        classes=CLASSES,
        epochs=1,
        released_labels=labels,
        public=public,
        public_labels=public_labels,
        known=plain[: COUNT // 2].flip(0),
        members=plain[COUNT // 2 :].flip(0),
        pairs=Pairs(known, disguised(known, known_labels), known_labels),
        embed=encoder,
        pretrained=encoder,
        networks=matched(name),
    )


def seen_by(attack: Attack, folder=None, seed: int = 0) -> Seen:
    """Return what an attacker sees of the first disguise that an attack applies to."""
    for name in NAMES:
        seen = world(name)
        if attack.reason(seen.scheme) is None:
            return replace(seen, folder=folder, generator=torch.Generator().manual_seed(seed))
    raise InputTypeError(f"{attack.name} applies to none of these disguises")


def exported(folder):
    """Write a small export."""
    images, labels = bars(12, 4)
    transform = transforms.BlockPermute(keys.PermutationKey.generate(**SIZES))
    data.export([(image, int(label)) for image, label in zip(images, labels, strict=True)], folder, transform=transform)
    return folder
