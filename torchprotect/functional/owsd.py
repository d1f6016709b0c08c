"""One Way Scrambling by Deconvolution (OWSD): turn embeddings into images with a secret random generator."""

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_tensor
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError
from torchprotect.functional.embedding import embed, embed_with_gradient
from torchprotect.keys import OWSDKey
from torchprotect.training import device_of, full_precision


@torch.no_grad()
def owsd_scramble(embeddings: Tensor, key: OWSDKey) -> Tensor:
    """Generate one scrambled image from each embedding, with the key's random generator.

    Each image depends on its own embedding alone. However, another batch size or device may round sums differently, so
    that a pixel changes by one grey level.

    Args:
        embeddings: floating point ``[N, embedding_size]``, on the scale that the key was calibrated with.
        key: the generator.

    Returns:
        uint8 ``[N, 3, H, W]`` on the device of the embeddings.

    Raises:
        InputTypeError: the embeddings are not floating point.
        InputShapeError: the length of the embeddings differs from the key's.
        InputRangeError: the embeddings hold NaN or infinity.

    References:
        Savransky et al., One Way Scrambling by Deconvolution.
    """
    _require_embeddings(embeddings, key)
    if not len(embeddings):
        return torch.empty(0, 3, *key.image_size, dtype=torch.uint8, device=embeddings.device)
    return _generate(embeddings, key).mul_(255).round_().to(torch.uint8)


def owsd_values(images: Tensor, encoder: nn.Module, key: OWSDKey) -> Tensor:
    """Compute the values that :func:`owsd_scramble_images` rounds, differentiably with respect to the images.

    All images go through in one pass. Use it for measures that need gradients of the scrambler, such as
    :func:`torchprotect.attacks.diagonal_fisher_leakage`.

    Args:
        images: at least one, floating point in 0..1, ``[N, C, H, W]``.
        encoder: see :func:`embed`; its embeddings must have the key's length.
        key: the generator.

    Returns:
        float32 ``[N, 3, H, W]`` in 0..1, of the key's image size, on the encoder's device.

    Raises:
        InputTypeError, InputRangeError, InputShapeError, ModelError: as for :func:`embed` and :func:`owsd_scramble`.
    """
    embeddings = embed_with_gradient(images, encoder)
    _require_embeddings(embeddings, key)
    return _generate(embeddings, key)


def _generate(embeddings: Tensor, key: OWSDKey) -> Tensor:
    with full_precision(embeddings.device):
        made: Tensor = key.network_on(embeddings.device)(embeddings.float())
    return made


def owsd_scramble_images(images: Tensor, encoder: nn.Module, key: OWSDKey, *, batch_size: int = 32) -> Tensor:
    """Scramble images: compute their embeddings (:func:`embed`), then generate images (:func:`owsd_scramble`).

    Args:
        images: uint8, or floating point in 0..1, ``[N, C, H, W]``.
        encoder: see :func:`embed`.
        key: the generator.
        batch_size: images per forward pass.

    Returns:
        uint8 ``[N, 3, H, W]`` of the key's image size, on the encoder's device.

    Raises:
        InputTypeError, InputRangeError, InputShapeError, ModelError: as for :func:`embed` and :func:`owsd_scramble`.
    """
    if not len(images):
        return torch.empty(0, 3, *key.image_size, dtype=torch.uint8, device=device_of(encoder))
    return torch.cat(
        [owsd_scramble(embed(part, encoder, batch_size=batch_size), key) for part in images.split(batch_size)]
    )


def _require_embeddings(embeddings: Tensor, key: OWSDKey) -> None:
    require_tensor("embeddings", embeddings)
    if not embeddings.is_floating_point():
        raise InputTypeError(f"embeddings must be floating point, not {embeddings.dtype}")
    if embeddings.ndim != 2 or embeddings.shape[1] != key.embedding_size:
        raise InputShapeError(
            f"key {key.fingerprint[:12]} takes embeddings [N, {key.embedding_size}], not {list(embeddings.shape)}; "
            "make a key with the embedding_size of this encoder"
        )
    if not bool(embeddings.isfinite().all()):
        raise InputRangeError("some embeddings are NaN or infinite; check the encoder and its input")
