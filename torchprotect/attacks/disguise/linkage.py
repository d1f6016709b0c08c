"""Find known images among disguised ones."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import require_plain, require_same_size
from torchprotect.attacks.disguise._assignment import assign
from torchprotect.attacks.disguise._preserved import Reading
from torchprotect.attacks.disguise._products import noise_energy, products, shared_coordinates
from torchprotect.attacks.neighbours import joined, nearest
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import Level, LinkageResult
from torchprotect.attacks.scheme import BLOCK_DISGUISES, Scheme, require_preserved
from torchprotect.attacks.scores import KNOWN_FOUND

_MOST_LEARNERS = 2000  # largest number of known images linked to learn the order; far fewer suffice
_SOFT = 2.0  # beyond this, products in learned coordinates are compressed logarithmically: rare pixels give huge ones


def linkage_attack(
    known: Tensor,
    disguised: Tensor,
    *,
    scheme: Scheme,
    rounds: int = 2,
    k: int = 10,
    progress: Callable[[int, int], None] | None = None,
) -> LinkageResult:
    """Find known images among disguised ones, without key or pairs: an attacker with public data (level L1).

    The attacker has images that may be in the set, and the public parameters of the disguise. The attack compares what
    the disguise preserves of each block, at first regardless of the order of the blocks: each feature is sorted over
    the image. Because all images have the same block order, the resulting links reveal it (as the assignment of blocks
    to positions with the least differences between linked images). With the order, links are made anew.

    The scheme determines what is compared: pixels; inner products of the rows of a block, whose diagonal are the
    energies; or how rare a unit is among the units at its position. If all positions share a key, the comparison also
    uses how rare the unit is at any position, and how often its own image contains it, a number that the disguise does
    not change.

    Cost: ``known``, ``candidates`` (images), ``features`` (numbers compared per image), ``comparisons`` (of two images;
    all with all at the end). Memory: a small multiple of ``features`` numbers per image.

    Args:
        known: plain images, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        disguised: ``[M, C, H, W]``, exactly as released; ``scheme.white`` is the value of white.
        scheme: scheme of a disguise by blocks. For a cipher that replaces units one by one, the known images must be
            many, because they represent the statistics of the set. For matrices that are not orthogonal, products are
            compared in coordinates that are learned from all known and all disguised images, position by position.
        rounds: how often the block order is learned from links; with 0 the links are made without it.
        k: guesses for each known image, at most M.
        progress: called with known images compared and the total, once the block order is learned.

    Returns:
        Indices of disguised images for each known one, and distances between their features.

    Raises:
        InputTypeError: known images are neither uint8 nor floating point.
        InputShapeError: images differ in size or device, or there are none.
        InputRangeError: a setting is invalid.
        BlockSizeError: blocks do not divide the images, or units do not divide the blocks.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-B, for the disguises. Giannella, Liu, Kargupta: Breaching Euclidean Distance-Preserving Data
        Perturbation Using Few Known Inputs (arXiv 0911.2942). Moments of neighbours as in blind source separation:
        Tong, Soon, Huang, Liu: AMUSE: a new blind identification algorithm.

    Example::

        scheme = attacks.Scheme.of(disguise.describe())
        found = attacks.linkage_attack(known, disguised, scheme=scheme)  # found.guesses[i, 0]: best match of known[i]
    """
    require_preserved(scheme, "linkage_attack", "values", "energies", "equality")
    reading = Reading(scheme)
    reading.require("known", known, disguised)
    require_int("k", k, at_least=1, at_most=len(disguised))
    require_int("rounds", rounds, at_least=0)
    mine, theirs = features_of(reading, known, disguised)
    learners = mine[:, :: -(-len(known) // _MOST_LEARNERS)]
    order = None
    for _ in range(rounds):
        links = nearest(*comparable(learners, theirs, order), 1)[0][:, 0]
        order = assign(torch.cdist(theirs[:, links].flatten(1), learners.flatten(1)).square())
    found = nearest(*comparable(mine, theirs, order), k, progress)
    cost = {
        "known": len(known),
        "candidates": len(disguised),
        "features": mine.shape[0] * mine.shape[2],
        "comparisons": len(disguised) * (len(known) + rounds * learners.shape[1]),
    }
    return LinkageResult(Level.PUBLIC_DATA, cost, *found)


def features_of(reading: Reading, known: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
    """Return the features to compare of plain and of disguised images, ``[positions, N, features]``."""
    if reading.scheme.preserved == "values":
        return reading.values(known, disguised)
    if reading.scheme.preserved == "equality":
        rarities = reading.rarities(known, disguised)
        if not reading.scheme.shared:
            return rarities
        repeats = reading.repeats(known, disguised)
        return torch.cat([rarities[0], repeats[0]], 2), torch.cat([rarities[1], repeats[1]], 2)
    plain, seen = reading.lines(known, disguised)
    spread = reading.scheme.noise**2 / 12
    variance = torch.full((len(plain), plain.shape[2]), spread * plain.shape[4], device=plain.device)
    if reading.scheme.keeps_lengths:
        return products(plain) + noise_energy(plain, variance), products(seen)
    turn, turn_seen = shared_coordinates(plain, spread), shared_coordinates(seen)
    variance = spread * turn.square().sum((2, 3))
    plain, seen = _transformed(plain, turn), _transformed(seen, turn_seen)
    mine, theirs = products(plain) + noise_energy(plain, variance), products(seen)
    return (mine / _SOFT).asinh(), (theirs / _SOFT).asinh()


def _transformed(lines: Tensor, coordinates: Tensor) -> Tensor:
    """Transform lines to other coordinates by position; in float64, because matrices may be nearly singular."""
    return torch.stack([(one.double() @ turn).float() for one, turn in zip(lines, coordinates, strict=True)])


def comparable(mine: Tensor, theirs: Tensor, order: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return features side by side, ``[N, positions * features]``.

    Blocks are put into one order. If the order is unknown, each feature is sorted over the positions.
    """
    if order is None:
        mine, theirs = mine.sort(dim=0).values, theirs.sort(dim=0).values
    else:
        mine = mine[order]
    return joined(mine), joined(theirs)


_GUESSES = 10


def _run(seen: Seen) -> LinkageResult:
    known = sought = seen.need(Need.KNOWN)
    if seen.scheme.preserved == "equality":  # rarity can only be estimated from many images
        public = seen.need(Need.PUBLIC)
        require_plain("known images", sought)
        require_plain("public images", public)
        require_same_size("known images", sought, "public images", public)
        known = torch.cat([sought, public])
    found = linkage_attack(known, seen.disguised, scheme=seen.scheme, k=min(_GUESSES, len(seen.disguised)))
    return replace(found, guesses=found.guesses[: len(sought)], distances=found.distances[: len(sought)])


LINKAGE = Attack(
    name="linkage_attack",
    title="Linkage",
    about="finds the disguised version of a known image",
    finds="identity",
    level=Level.PUBLIC_DATA,
    run=_run,
    score=KNOWN_FOUND,
    needs=frozenset({Need.PUBLIC, Need.KNOWN}),
    holder="Someone who has some of the originals, but no key,",
    reason=only_for(*BLOCK_DISGUISES),
)
