"""Checks of what attacks are given, and their random draws."""

import torch
from torch import Tensor

from torchprotect._inputs import require_tensor
from torchprotect.adversarial import PGDSettings
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, LabelError


def require_classes(classes: int) -> None:
    """Check a number of classes."""
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise InputRangeError(f"classes is a whole number of at least 2, not {classes!r}")


def require_count(name: str, value: int) -> None:
    """Check a number of epochs, steps or images."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputRangeError(f"{name} is a whole number of at least 1, not {value!r}")


def require_labelled(images: Tensor, labels: Tensor, classes: int) -> None:
    """Check float images ``[N, C, H, W]`` and their int64 labels ``[N]``."""
    require_pictures(images)
    require_tensor("labels", labels)
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


def require_pictures(images: Tensor) -> None:
    """Check float images ``[N, C, H, W]``, at least one."""
    require_tensor("images", images)
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
    """Check that the search goes toward its classes, or away from them."""
    if settings.targeted is not targeted:
        raise InputRangeError(f"these settings need targeted={targeted}")


def generator_on(device: torch.device, generator: torch.Generator | None) -> torch.Generator | None:
    """Return a generator for draws on a device: the one given, or one that is seeded by it."""
    if generator is None or generator.device == device:
        return generator
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    return torch.Generator(device).manual_seed(int(seed))


def class_means(values: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the mean of ``values [N]`` over each class, float64 ``[classes]``; NaN for a class with no image."""
    sums = torch.zeros(classes, dtype=torch.float64, device=values.device).index_add_(0, labels, values.double())
    return sums / labels.bincount(minlength=classes)
