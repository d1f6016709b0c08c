"""Embeddings of images by an encoder."""

import torch
from torch import Tensor, nn

from torchprotect.errors import ModelError
from torchprotect.functional.picture import require_uint8_or_unit_float
from torchprotect.training import device_of, full_precision, input_dtype_of, require_running_statistics


@torch.no_grad()
def embed(images: Tensor, encoder: nn.Module, *, batch_size: int = 32) -> Tensor:
    """Compute the embeddings of images with an encoder.

    Args:
        images: at least one, ``[N, C, H, W]``, uint8 or floating point in 0..1.
        encoder: takes float images in 0..1 and returns ``[N, E]`` or ``[N, E, 1, 1]``. Any normalisation happens inside
            it. It must be in eval mode: in training mode an image's embedding may depend on the rest of its batch.
        batch_size: images per forward pass.

    Returns:
        float32 ``[N, E]`` on the encoder's device.

    Raises:
        InputTypeError, InputRangeError: the images are neither uint8 nor floating point in 0..1.
        ModelError: the encoder cannot take the images, returns something other than finite embeddings, or computes
            results that depend on the rest of the batch.
    """
    _require(images, encoder)
    return torch.cat([_embed(part, encoder) for part in images.split(batch_size)])


def embed_with_gradient(images: Tensor, encoder: nn.Module) -> Tensor:
    """Compute the embeddings of images in one pass that autograd can follow back to floating-point images.

    Args and errors are those of :func:`embed`.
    """
    _require(images, encoder)
    return _embed(images, encoder)


def _require(images: Tensor, encoder: nn.Module) -> None:
    require_uint8_or_unit_float(images)
    _require_eval_mode(encoder)
    require_running_statistics("encoder", encoder)


def _require_eval_mode(encoder: nn.Module) -> None:
    if any(module.training for module in encoder.modules()):
        raise ModelError(
            "the encoder is in training mode, in which an image's embedding may depend on its batch: call eval()"
        )


def _as_float(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a copy, because the encoder may change its input in place."""
    return images.to(dtype) / 255 if images.dtype == torch.uint8 else images.to(dtype, copy=True)


def _embed(images: Tensor, encoder: nn.Module) -> Tensor:
    device = device_of(encoder)
    given = _as_float(images.to(device), input_dtype_of(encoder))
    try:
        with full_precision(device):
            embeddings = encoder(given)
    except Exception as error:
        raise ModelError(f"the encoder cannot take images {list(images.shape)}: {error}") from error
    shape = list(embeddings.shape) if isinstance(embeddings, Tensor) else []
    if len(shape) < 2 or shape[0] != len(images) or any(size != 1 for size in shape[2:]):
        raise ModelError(
            f"the encoder must return embeddings [{len(images)}, E], not {shape or type(embeddings).__name__}"
        )
    if not bool(embeddings.isfinite().all()):
        raise ModelError("the encoder's embeddings are NaN or infinite for some images")
    return embeddings.flatten(1).float()
