"""Pictures for a person to look at: the worst, a median and the best image of an attack."""

from torch import Tensor

from torchprotect.attacks import psnr
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.report.finding import Example
from torchprotect.audit.report.pictures import png

_EACH = 2
_RANKS = ("worst", "median", "best")


def examples(bench: Bench, images: Tensor) -> tuple[Example, ...]:
    """Return the images that are least like the plain ones, two in the middle, and the most similar ones.

    Args:
        bench: with pairs.
        images: rebuilt images of the first targets.
    """
    if not bench.settings.pictures:
        return ()
    indices = bench.targets[: len(images)]
    truth, disguised = bench.truth(indices), bench.disguised(indices)
    ranked, each = psnr(images, truth).argsort().tolist(), min(_EACH, len(images) // len(_RANKS))
    middle = (len(ranked) - each) // 2
    chosen = (ranked[:each], ranked[middle : middle + each], ranked[-each:])
    return tuple(
        Example(rank, *(png(each[number]) for each in (truth, disguised, images)))
        for rank, numbers in zip(_RANKS, chosen, strict=True)
        for number in numbers
    )
