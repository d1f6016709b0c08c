"""From images to embeddings, and to scrambled images."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from torchprotect import functional as F
from torchprotect.errors import ModelError
from torchprotect.functional._exact import full_precision
from torchprotect.functional._picture import require_uint8_or_unit_float
from torchprotect.keys import OWSDKey
from torchprotect.training import home_of


@torch.no_grad()
def embed(encoder: nn.Module, images: Tensor, *, batch_size: int = 64) -> Tensor:
    """Return the embeddings of images.

    Args:
        encoder: takes float images in 0..1 (any normalisation is its own), returns ``[N, E]`` or ``[N, E, 1, 1]``; in
            eval mode, or an image's embedding would depend on the others of its batch.
        images: uint8, or floating point in 0..1, ``[N, C, H, W]``; at least one.
        batch_size: images through the encoder at once.

    Returns:
        float32 ``[N, E]`` on the encoder's device.

    Raises:
        ModelError: images of a batch depend on each other in the encoder, it cannot take the images, or it returns
            something else.
    """
    require_uint8_or_unit_float(images)
    _require_independence(encoder)
    device, dtype = home_of(encoder)
    with full_precision(device):
        return torch.cat([_embed(encoder, _as_float(part.to(device), dtype)) for part in images.split(batch_size)])


def scramble(encoder: nn.Module, key: OWSDKey, images: Tensor, *, batch_size: int = 64) -> Tensor:
    """Return the scrambled image of each image: uint8 ``[N, 3, H, W]`` of the key's size, on the encoder's device."""
    if not len(images):
        return torch.empty(0, 3, *key.image_size, dtype=torch.uint8, device=home_of(encoder)[0])
    return torch.cat(
        [F.owsd_scramble(embed(encoder, part, batch_size=batch_size), key) for part in images.split(batch_size)]
    )


def _require_independence(encoder: nn.Module) -> None:
    for module in encoder.modules():
        if module.training:
            raise ModelError(
                "the encoder is in training mode, in which images of a batch depend on each other: eval() it"
            )
        if isinstance(module, _BatchNorm) and module.running_mean is None:
            raise ModelError(
                "a batch norm of the encoder keeps no running statistics, so that images of a batch depend on each "
                "other: make it with track_running_stats=True"
            )


def _as_float(images: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a copy, which the encoder may change."""
    return images.to(dtype) / 255 if images.dtype == torch.uint8 else images.to(dtype, copy=True)


def _embed(encoder: nn.Module, images: Tensor) -> Tensor:
    try:
        embeddings = encoder(images)
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
