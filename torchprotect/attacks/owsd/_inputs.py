"""What the attacks on scrambled images ask of their input."""

import torch
from torch import Tensor

from torchprotect._inputs import require_tensor
from torchprotect.attacks.images import shrink
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError

_SIDE = 64  # scrambled images are read at this size: 12,288 numbers each


def require_vectors(name: str, vectors: Tensor) -> None:
    """Check finite floating-point vectors ``[N, D]``, at least one."""
    require_tensor(name, vectors)
    if not vectors.is_floating_point():
        raise InputTypeError(f"{name} are floating-point numbers, not {vectors.dtype}")
    if vectors.ndim != 2 or not vectors.numel():
        raise InputShapeError(f"{name} must be [N, D], at least one, not {list(vectors.shape)}")
    if not bool(vectors.isfinite().all()):
        raise InputRangeError(f"some {name} are NaN or infinite")


def require_scrambled(name: str, images: Tensor) -> None:
    """Check uint8 images ``[N, C, H, W]``, at least one."""
    require_tensor(name, images)
    if images.dtype != torch.uint8:
        raise InputTypeError(f"{name} are uint8, not {images.dtype}")
    if images.ndim != 4 or not images.numel():
        raise InputShapeError(f"{name} must be [N, C, H, W], at least one, not {list(images.shape)}")


def require_same_count(first: str, one: Tensor, second: str, other: Tensor) -> None:
    """Check that two sets are of the same images."""
    if len(one) != len(other):
        raise InputShapeError(
            f"as many {first} as {second} are needed, in the same order, not {len(one)} and {len(other)}"
        )


def flat_pixels(images: Tensor) -> Tensor:
    """Return uint8 images as float32 ``[N, D]`` in 0..1, averaged down to 64 x 64 where they are larger."""
    return shrink(images, _SIDE) / 255
