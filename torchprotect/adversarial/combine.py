"""Ways to make one image of several perturbed ones, each led to another target class.

Every way takes the share of each target: a row of numbers from 0 up that sum to 1, one row an image. Images of classes
with fewer targets have shares of 0 at the end.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from torchprotect.adversarial.l2 import per_image
from torchprotect.errors import InputRangeError, InputShapeError

_SLACK = 1e-4  # of the sum of shares
_ROUNDING = 1e-6  # shares are float32: a third of 300 columns must not become 99


def concat(images: Tensor, shares: Tensor, places: Tensor | None = None) -> Tensor:
    """Set columns side by side: the leftmost from the first image, as many as its share, rounded down.

    The distance of the result can exceed that of its parts, by up to a factor of sqrt(2) for two.
    """
    width = images.shape[-1]
    edges = ((shares.cumsum(1)[:, :-1] + _ROUNDING) * width).floor()  # [N, K - 1]
    columns = torch.arange(width, device=images.device)
    chosen = (columns >= edges[..., None]).sum(1)  # [N, W], which image each column is from
    index = chosen.reshape(1, len(chosen), *[1] * (images.ndim - 3), width).expand(1, *images.shape[1:])
    return images.gather(0, index)[0]


def mixup(images: Tensor, shares: Tensor, places: Tensor | None = None) -> Tensor:
    """Average, each image with its share. The result is no farther away than the farthest of its parts."""
    weights = shares.T.to(images.dtype)
    mixed = images[0]  # with what remains of 1, so that shares that sum to nearly 1 do not darken the image
    for image, weight in zip(images[1:], weights[1:], strict=True):
        mixed = torch.addcmul(mixed, image - images[0], per_image(weight, image))
    return mixed


def mixup_and_concat(images: Tensor, shares: Tensor, places: Tensor | None = None) -> Tensor:
    """Mix the first two images and the last two, each pair by its own shares, and set the mixes side by side.

    The left mix is as wide as the shares of its pair together.
    """
    pairs = shares.unflatten(1, (2, 2))  # [N, 2, 2]
    together = pairs.sum(2)  # [N, 2]
    inside = torch.where(together[..., None] > 0, pairs / together[..., None], pairs.new_tensor([1.0, 0.0]))
    mixes = [mixup(images[2 * side : 2 * side + 2], inside[:, side]) for side in (0, 1)]
    return concat(torch.stack(mixes), together)


def cutmix(images: Tensor, shares: Tensor, places: Tensor | None = None) -> Tensor:
    """Paste a box from the second image into the first: of the image's proportions, centred anywhere, cut off at edges.

    Its area is the second share of the image before it is cut off.

    References:
        Yun et al., CutMix.
    """
    size = shares[:, 1].sqrt()[:, None] * _size(images)
    centre = _need(places) * _size(images)
    return _paste(images, (centre - size / 2).round(), (centre + size / 2).round())


def random_square(images: Tensor, shares: Tensor, places: Tensor | None = None) -> Tensor:
    """Paste a square from the second image into the first, anywhere inside it.

    Its area is the second share of the image, or the largest square that fits.

    References:
        Summers and Dinneen, Improved Mixed-Example Data Augmentation.
    """
    size = _size(images)
    side = (shares[:, 1] * size.prod()).sqrt().clamp_max(float(size.min())).round()[:, None]
    first = (_need(places) * (size - side + 1)).floor()  # each place is as likely
    return _paste(images, first, first + side)


WAYS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "concat": concat,
    "mixup": mixup,
    "mixup-and-concat": mixup_and_concat,
    "cutmix": cutmix,
    "random-square": random_square,
}
"""Ways to combine, by name."""

TARGETS = {"mixup-and-concat": 4, "cutmix": 2, "random-square": 2}
"""How many images a way takes, where that is fixed."""

PLACED = ("cutmix", "random-square")
"""Ways that need places."""


def combine(way: str, images: Tensor, shares: Tensor, places: Tensor | None = None) -> Tensor:
    """Make one image of several.

    Args:
        way: ``"concat"``, ``"mixup"``, ``"mixup-and-concat"``, ``"cutmix"`` or ``"random-square"``.
        images: floating point ``[K, N, C, H, W]``: ``K`` versions of ``N`` images.
        shares: ``[N, K]``, rows of numbers from 0 up that sum to 1.
        places: uniform numbers in [0, 1) ``[N, 2]``, for the ways that paste somewhere.

    Returns:
        ``[N, C, H, W]``.

    Raises:
        InputRangeError: an unknown way, shares that do not sum to 1, or a way that needs another number of images.
        InputShapeError: shapes do not fit, or places are missing.
    """
    if way not in WAYS:
        raise InputRangeError(f"way is one of {sorted(WAYS)}, not {way!r}")
    if images.ndim < 4 or shares.shape != (images.shape[1], images.shape[0]):
        raise InputShapeError(
            f"images [K, N, ..., H, W] and shares [N, K] are needed, not {list(images.shape)}, {list(shares.shape)}"
        )
    require_shares(shares)
    if images.shape[0] != TARGETS.get(way, images.shape[0]):
        raise InputRangeError(f"{way} combines {TARGETS[way]} images, not {images.shape[0]}")
    if way in PLACED and (places is None or places.shape != (images.shape[1], 2)):
        raise InputShapeError(f"{way} needs places [N, 2] of uniform numbers in [0, 1)")
    if places is not None and not bool(((places >= 0) & (places < 1)).all()):
        raise InputRangeError("places are numbers in [0, 1)")
    return WAYS[way](images, shares, places)


def require_shares(shares: Tensor) -> None:
    """Check that each row holds numbers from 0 up that sum to 1."""
    if not bool((shares >= 0).all() and ((shares.sum(1) - 1).abs() <= _SLACK).all()):
        raise InputRangeError("shares are numbers from 0 up that sum to 1 for each image")


def _paste(images: Tensor, first: Tensor, end: Tensor) -> Tensor:
    """Return the first image with a box from the second: rows and columns ``first [N, 2]`` up to ``end``."""
    inside = []
    for dimension, length in enumerate(images.shape[-2:]):
        line = torch.arange(length, device=images.device)
        inside.append((line >= first[:, dimension, None]) & (line < end[:, dimension, None]))
    box = inside[0][:, :, None] & inside[1][:, None, :]  # [N, H, W]
    return torch.where(box.reshape(len(box), *[1] * (images.ndim - 4), *box.shape[1:]), images[1], images[0])


def _size(images: Tensor) -> Tensor:
    return torch.tensor(images.shape[-2:], dtype=torch.float32, device=images.device)


def _need(places: Tensor | None) -> Tensor:
    if places is None:
        raise InputShapeError("this way of combining needs places [N, 2] of uniform numbers in [0, 1)")
    return places
