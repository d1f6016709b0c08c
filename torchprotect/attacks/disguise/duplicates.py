"""Count images and units that repeat."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from torchprotect.attacks._inputs import require_images
from torchprotect.attacks.disguise._lookup import RowBook
from torchprotect.attacks.disguise._preserved import count_equal, number_units
from torchprotect.attacks.protocol import Attack, Seen
from torchprotect.attacks.results import AttackResult, Level, facts_of
from torchprotect.attacks.scheme import Scheme
from torchprotect.attacks.scores import NOTHING


@dataclass(frozen=True, eq=False, repr=False)
class DuplicateResult(AttackResult):
    """Repetitions in a set of disguised images. For a disguise without units, shares of units are NaN or empty.

    If all positions share a secret, equal units at any two positions count as repetitions.

    Attributes:
        image_groups: number of different images that occur more than once.
        image_share: share of the images that occur more than once.
        unit_share: share of the units that also occur at their position in another image; with a shared secret, a
            second time anywhere.
        unit_share_by_position: float32 ``[positions]``, the same for each position.
        background_share: share of the units that equal the most frequent unit of their position; with a shared secret,
            of all positions. Near 1 / N there is no visible background.
    """

    image_groups: int
    image_share: float
    unit_share: float
    unit_share_by_position: Tensor
    background_share: float


def duplicate_statistics(disguised: Tensor, *, scheme: Scheme | None = None) -> DuplicateResult:
    """Count equal images, and equal units at one position of different images: disguised images only (level L0).

    A disguise without randomness turns equal images into equal ones. A stateless cipher does so unit by unit. "Equal"
    means equal in every byte.

    Cost: ``images``, ``units`` (numbered by sorting; 0 if the disguise has none).

    Args:
        disguised: ``[N, C, H, W]``, any number type.
        scheme: scheme of the disguise; only ``AESECBDisguise`` has units, and ``None`` has none.

    Raises:
        InputShapeError: there are no images.
        InputRangeError: the images hold NaN or infinity.
        BlockSizeError: blocks do not divide the images, or units do not divide the blocks.
    """
    require_images("disguised images", disguised)
    sizes = RowBook(disguised.flatten(1)[None]).numbers.flatten().bincount()
    repeated = sizes[sizes > 1]
    groups, share = len(repeated), float(repeated.sum()) / len(disguised)
    cost = {"images": len(disguised), "units": 0}
    if scheme is None or scheme.preserved != "equality":
        return DuplicateResult(Level.CIPHERTEXT_ONLY, cost, groups, share, math.nan, torch.empty(0), math.nan)
    numbers = number_units(disguised, scheme)
    counts = count_equal(numbers)
    background = counts.amax(_secret_dimensions(scheme)).sum() / counts.numel()
    seen = (counts > 1).float().mean((1, 2, 3))
    cost["units"] = counts.numel()
    return DuplicateResult(Level.CIPHERTEXT_ONLY, cost, groups, share, float(seen.mean()), seen, float(background))


def _secret_dimensions(scheme: Scheme) -> tuple[int, ...]:
    """Return the dimensions of ``[positions, C, units, N]`` over which one most frequent unit stands out."""
    if not scheme.shared:
        return (3,)
    return (0, 1, 2, 3) if scheme.channels is None else (0, 2, 3)


def _run(seen: Seen) -> DuplicateResult:
    images = seen.disguised if seen.released is None else seen.released
    return duplicate_statistics(images, scheme=seen.scheme)


DUPLICATES = Attack(
    name="duplicate_statistics",
    title="Duplicates",
    about="counts images and cipher units that repeat",
    finds="equality",
    level=Level.CIPHERTEXT_ONLY,
    run=_run,
    score=NOTHING,
    facts=facts_of,
)
