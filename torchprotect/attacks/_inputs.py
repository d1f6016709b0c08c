"""Input checks and random draws shared by the attacks."""

import torch
from torch import Tensor

from torchprotect._inputs import require_int, require_tensor
from torchprotect.adversarial import PGDSettings
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, LabelError


def require_data(name: str, value: Tensor) -> None:
    """Check for a tensor whose values can be read.

    Raises:
        InputTypeError: it is something else, or lies on the meta device.
    """
    require_tensor(name, value)
    if value.is_meta:
        raise InputTypeError(f"{name} must hold data, but lie on the meta device, which has none: use another device")


def require_labels(images: Tensor, labels: Tensor, classes: int) -> None:
    """Check int64 labels ``[N]`` of images ``[N, C, H, W]``, on their device and below ``classes``."""
    require_int("classes", classes, at_least=2)
    require_data("labels", labels)
    if labels.dtype != torch.int64:
        raise InputTypeError(f"labels must be int64 class numbers, not {labels.dtype}")
    if labels.shape != images.shape[:1] or labels.device != images.device:
        raise InputShapeError(
            f"images [N, C, H, W] and labels [N] on one device are needed, not {list(images.shape)} on "
            f"{images.device} and {list(labels.shape)} on {labels.device}"
        )
    lowest, highest = (int(edge) for edge in labels.aminmax())
    if lowest < 0 or highest >= classes:
        raise LabelError(f"labels must lie in 0..{classes - 1}, but lie in {lowest}..{highest}")


def require_labelled(images: Tensor, labels: Tensor, classes: int) -> None:
    """Check float images ``[N, C, H, W]`` and their labels, see :func:`require_labels`."""
    require_pictures(images)
    require_labels(images, labels, classes)


def require_pictures(images: Tensor) -> None:
    """Check float images ``[N, C, H, W]``, at least one."""
    require_data("images", images)
    if not images.is_floating_point():
        raise InputTypeError(f"images must be floating point in 0..1, not {images.dtype}: divide by 255")
    if images.ndim != 4 or not images.numel():
        raise InputShapeError(f"images [N, C, H, W], at least one, are needed, not {list(images.shape)}")


def require_every_class(labels: Tensor, classes: int) -> None:
    """Check that each class has an image."""
    missing = (labels.bincount(minlength=classes) == 0).nonzero().flatten().tolist()
    if missing:
        raise InputRangeError(f"no image of class {missing}: this attack needs at least one of each class")


def require_direction(settings: PGDSettings, *, targeted: bool) -> None:
    """Check that the search is targeted, or that it is untargeted."""
    if settings.targeted is not targeted:
        raise InputRangeError(f"these settings need targeted={targeted}")


def require_plain(name: str, images: Tensor) -> None:
    """Check plain images: uint8, or floating point in 0..1, ``[N, C, H, W]``, at least one."""
    require_grey_levels(name, images)
    if images.is_floating_point():
        low, high = (float(edge) for edge in images.aminmax())
        if low < 0 or high > 1:
            raise InputRangeError(
                f"floating-point {name} must lie in 0..1, but lie in {low:g}..{high:g}: divide or clip"
            )


def require_grey_levels(name: str, images: Tensor) -> None:
    """Check images of a dtype that plain ones may have, on any scale: ``[N, C, H, W]``, at least one."""
    require_images(name, images)
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise InputTypeError(f"{name} must be uint8 or floating point in 0..1, not {images.dtype}")


def require_images(name: str, images: Tensor) -> None:
    """Check finite images ``[N, C, H, W]``, at least one, of any real number type."""
    require_data(name, images)
    if images.is_complex():
        raise InputTypeError(f"{name} must hold real numbers, not {images.dtype}")
    if images.ndim != 4 or not images.numel():
        raise InputShapeError(f"{name} must be [N, C, H, W], at least one image, not {list(images.shape)}")
    if images.is_floating_point() and not bool(images.isfinite().all()):
        raise InputRangeError(f"{name} hold NaN or infinity")


def require_same_size(first: str, one: Tensor, second: str, other: Tensor) -> None:
    """Check that two sets of images have the same channels, height and width, and lie on one device."""
    if one.shape[1:] != other.shape[1:]:
        raise InputShapeError(
            f"{first} and {second} must have one size [C, H, W], not {list(one.shape[1:])} and {list(other.shape[1:])}"
        )
    if one.device != other.device:
        raise InputShapeError(f"{first} and {second} must be on one device, not {one.device} and {other.device}")


def like(images: Tensor, plain: Tensor) -> Tensor:
    """Convert rebuilt images to the dtype and range of plain ones: rounded to 0..255 for uint8, otherwise in 0..1."""
    if plain.dtype == torch.uint8:
        return images.round().clamp(0, 255).to(torch.uint8)
    return images.clamp(0, 1).to(plain.dtype)


def require_vectors(name: str, vectors: Tensor) -> None:
    """Check finite floating-point vectors ``[N, D]``, at least one."""
    require_data(name, vectors)
    if not vectors.is_floating_point():
        raise InputTypeError(f"{name} must be floating point, got {vectors.dtype}")
    if vectors.ndim != 2 or not vectors.numel():
        raise InputShapeError(f"{name} must be [N, D], at least one, not {list(vectors.shape)}")
    if not bool(vectors.isfinite().all()):
        raise InputRangeError(f"some {name} are NaN or infinite")


def require_scrambled(name: str, images: Tensor) -> None:
    """Check uint8 images ``[N, C, H, W]``, at least one."""
    require_data(name, images)
    if images.dtype != torch.uint8:
        raise InputTypeError(f"{name} must be uint8, got {images.dtype}")
    if images.ndim != 4 or not images.numel():
        raise InputShapeError(f"{name} must be [N, C, H, W], at least one, not {list(images.shape)}")


def require_same_count(first: str, one: Tensor, second: str, other: Tensor) -> None:
    """Check that two sets have the same number of images, as sets of the same images do."""
    if len(one) != len(other):
        raise InputShapeError(
            f"as many {first} as {second} are needed, in the same order, not {len(one)} and {len(other)}"
        )


def generator_on(device: torch.device, generator: torch.Generator | None) -> torch.Generator | None:
    """Return a generator for draws on a device: the given one, or a new one seeded from it."""
    if generator is None or generator.device == device:
        return generator
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    return torch.Generator(device).manual_seed(int(seed))


def class_means(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean of ``values [N]`` over each class, float64 ``[classes]``; NaN for a class with no image."""
    sums = torch.zeros(classes, dtype=torch.float64, device=values.device).index_add_(0, labels, values.double())
    return sums / labels.bincount(minlength=classes)
