"""Device, train/eval mode, precision and output checks for user-supplied models."""

import contextlib
import itertools
import threading
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from torchprotect._inputs import type_name, with_article
from torchprotect.errors import ModelError
from torchprotect.training._precision import require_precision

_CPU = torch.device("cpu")
_CUDNN_FLAGS = threading.RLock()  # they belong to the process: two threads would restore each other's settings


def device_of(model: nn.Module, default: torch.device = _CPU) -> torch.device:
    """Return the device of a model's first parameter or buffer, or ``default`` if it has none."""
    return next((tensor.device for tensor in _tensors_of(model)), default)


def input_dtype_of(model: nn.Module) -> torch.dtype:
    """Return the dtype of a model's inputs: float64 for a float64 model, otherwise float32."""
    kinds = (tensor.dtype for tensor in _tensors_of(model) if tensor.is_floating_point())
    return torch.float64 if next(kinds, None) == torch.float64 else torch.float32


def scores_of(model: nn.Module, images: Tensor, classes: int | None = None) -> Tensor:
    """Compute a model's scores of images, in its current mode. The model receives a copy, which it may change.

    Args:
        model: any network.
        images: ``[N, ...]``, on the model's device.
        classes: number of classes that the model must have; any number when ``None``.

    Raises:
        ModelError: it returns something other than scores ``[N, classes]``.
    """
    scores = model(images.clone())
    shown = "classes" if classes is None else classes
    if not isinstance(scores, Tensor) or scores.ndim != 2 or len(scores) != len(images):
        received = list(scores.shape) if isinstance(scores, Tensor) else with_article(type_name(scores))
        hint = "; wrap it in a module that returns its .logits" if hasattr(scores, "logits") else ""
        raise ModelError(f"the model must return scores [{len(images)}, {shown}], not {received}{hint}")
    if classes is not None and scores.shape[1] != classes:
        raise ModelError(f"the model must return scores [{len(images)}, {classes}], not {list(scores.shape)}")
    return scores


@torch.no_grad()
def predict(
    model: nn.Module,
    images: Tensor,
    *,
    classes: int,
    batch_size: int | None = None,
    precision: torch.dtype | None = None,
) -> Tensor:
    """Return the class with the highest score for each image, in eval mode.

    Args:
        model: takes images as they are, returns scores ``[N, classes]``.
        images: ``[N, ...]``, moved to the model's device batch by batch.
        classes: number of classes that the model must have.
        batch_size: images per forward pass; all at once when ``None``.
        precision: ``torch.bfloat16`` or ``torch.float16`` to run the model under autocast, or ``None`` for its own
            dtype.

    Returns:
        int64 ``[N]``, on the images' device.

    Raises:
        ModelError: the model does not return finite scores ``[N, classes]``.
        InputTypeError: ``precision`` is not a half precision.
    """
    require_precision(precision)
    device, predicted = device_of(model, images.device), []
    with eval_mode(model), torch.autocast(device.type, precision, enabled=precision is not None):
        for batch in images.split(batch_size or max(len(images), 1)):
            scores = scores_of(model, batch.to(device), classes)
            if not bool(scores.isfinite().all()):
                raise ModelError(
                    "the model's scores are NaN or infinite for some images; check its weights and precision"
                )
            predicted.append(scores.argmax(1).to(images.device))
    return torch.cat(predicted)


@contextlib.contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode; restore the mode of each on exit, also after an error."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.eval()
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextlib.contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Compute in full precision, whatever autocast or TF32 settings the caller has (a context manager).

    On CUDA, cuDNN is limited to deterministic algorithms, and only one thread at a time computes.
    """
    with contextlib.ExitStack() as settings:
        settings.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            settings.enter_context(_CUDNN_FLAGS)
            enabled = torch.backends.cudnn.enabled
            settings.enter_context(
                torch.backends.cudnn.flags(enabled=enabled, benchmark=False, deterministic=True, allow_tf32=False)
            )
        yield


def require_running_statistics(name: str, model: nn.Module) -> None:
    """Check that no batch norm normalises over the batch in eval mode, which would make images depend on each other.

    Args:
        name: name of the model in error messages.
        model: any network.

    Raises:
        ModelError: a batch norm keeps no running statistics.
    """
    for path, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise ModelError(
                f"the {name} normalises over the batch even in eval mode, so that an image would depend on its "
                f"neighbours: {path or type(module).__name__} keeps no running statistics; use track_running_stats=True"
            )


def _tensors_of(model: nn.Module) -> Iterator[Tensor]:
    return itertools.chain(model.parameters(), model.buffers())
