"""Try every seed of a generator whose weights were drawn from a seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from torchprotect._inputs import require_number
from torchprotect.attacks._inputs import require_scrambled
from torchprotect.attacks.results import AttackResult, Level
from torchprotect.errors import InputShapeError


@dataclass(frozen=True, eq=False, repr=False)
class SeedResult(AttackResult):
    """Result of a search over seeds.

    Attributes:
        found: whether a seed gives the scrambled image.
        seed: that seed, or the nearest one tried.
        distance: mean difference, in grey levels, of the seed's image to the given one.
    """

    found: bool
    seed: int
    distance: float


def small_seed_search(
    scrambled: Tensor,
    generate: Callable[[int], Tensor],
    seeds: Sequence[int],
    *,
    tolerance: float = 1.0,
    progress: Callable[[int, int], None] | None = None,
) -> SeedResult:
    """Try seeds until one reproduces the scrambled image of a known plain one (level L2): why a seed is not a key.

    Keys of this package are weights drawn from the operating system's entropy, which no seed reproduces. This attack
    shows what happens to keys that are drawn with a seeded generator of 32 bits or fewer.

    Cost: ``trials``, each of which makes one image.

    Args:
        scrambled: uint8 ``[1, C, H, W]``: one image.
        generate: takes a seed, and returns the scrambled image of the same plain one under the key of that seed, uint8
            ``[1, C, H, W]``.
        seeds: seeds to try, in order.
        tolerance: mean difference, in grey levels, up to which two images count as the same.
        progress: called with seeds tried and the total.
    """
    require_scrambled("the scrambled image", scrambled)
    if len(scrambled) != 1 or not len(seeds):
        raise InputShapeError("one scrambled image [1, C, H, W] and at least one seed are needed")
    require_number("tolerance", tolerance, at_least=0)
    best, nearest, tried = float("inf"), seeds[0], 0
    for tried, seed in enumerate(seeds, 1):
        made = generate(seed)
        if made.shape != scrambled.shape:
            raise InputShapeError(f"generate must make an image {list(scrambled.shape)}, not {list(made.shape)}")
        distance = float((made.to(scrambled.device, torch.float32) - scrambled.float()).abs().mean())
        if distance < best:
            best, nearest = distance, seed
        if progress is not None:
            progress(tried, len(seeds))
        if best <= tolerance:
            break
    return SeedResult(Level.KNOWN_PAIRS, {"trials": tried}, found=best <= tolerance, seed=nearest, distance=best)
