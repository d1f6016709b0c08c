"""Normalise disguised images for a network, and check its scores for a fixed input that every file records."""

import torch
from torch import Tensor, nn

from torchprotect.data import Shape
from torchprotect.errors import ModelError
from torchprotect.training import device_of, scores_of

CHECKED = 16  # scores of the check that a file states at most
_TOLERANCE = 0.05  # largest difference of these, relative to how far they spread: devices and precisions differ


def normalise(images: Tensor, scale: int, mean: Tensor, std: Tensor, *, like: nn.Module) -> Tensor:
    """Return ``(images / scale - mean) / std`` on the device and in the dtype of a network.

    Args:
        images: disguised, ``[N, C, H, W]``, any dtype.
        scale: value of white in them.
        mean, std: ``[C or 1, 1, 1]``.
        like: the network.
    """
    device, dtype = device_of(like), _dtype_of(like)
    inputs = images.to(device, torch.promote_types(dtype, torch.float32), copy=True)
    return inputs.div_(scale).sub_(mean.to(inputs)).div_(std.to(inputs)).to(dtype)


@torch.inference_mode()
def answers_of(network: nn.Module, inputs: Tensor, classes: int | None = None) -> Tensor:
    """Return the scores of a network in eval mode, float32 ``[N, classes]``.

    Raises:
        ModelError: it does not take such images, or returns something else.
    """
    try:
        return scores_of(network, inputs, classes).float()
    except ModelError:
        raise
    except Exception as error:  # user code may raise anything
        raise ModelError(f"the network does not take images {list(inputs.shape[1:])}: {error}") from error


def check_scores(network: nn.Module, shape: Shape, classes: int | None = None) -> Tensor:
    """Return the scores of a network in eval mode for a fixed input that is unrelated to any data."""
    ramp = torch.linspace(-1, 1, shape.channels * shape.height * shape.width, dtype=torch.float64).reshape(1, *shape)
    return answers_of(network, ramp.to(device_of(network), _dtype_of(network)), classes)[0]


def differs(wanted: tuple[float, ...], given: Tensor) -> bool:
    """Return whether the first scores of a check differ from those recorded in a file."""
    expected = torch.tensor(wanted)
    spread = max(float(expected.max() - expected.min()), float(expected.abs().max()), 1e-3)
    return not bool(((given[: len(wanted)].cpu() - expected).abs() <= _TOLERANCE * spread).all())


def _dtype_of(network: nn.Module) -> torch.dtype:
    found = (each.dtype for each in network.parameters() if each.is_floating_point())
    return next(found, torch.float32)
