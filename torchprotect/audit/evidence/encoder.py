"""The encoder of scrambled images, for attackers who have it."""

import hashlib
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from torchprotect import functional as F
from torchprotect.attacks.scheme import SCRAMBLING
from torchprotect.attacks.scores.identities import pixel_digests
from torchprotect.audit.evidence.evidence import Evidence, tensor_digest
from torchprotect.errors import InputTypeError
from torchprotect.keys import Key, OWSDKey
from torchprotect.training import model_digest


def require_encoder(encoder: Any, evidence: Evidence) -> None:
    """Check for an encoder, and for images that went through one.

    Raises:
        InputTypeError: it is not a network, or the images went through a disguise that has none.
    """
    if not isinstance(encoder, nn.Module):
        raise InputTypeError(f"encoder must be a torch.nn.Module, not {type(encoder).__name__}")
    if evidence.scheme.name != SCRAMBLING:
        raise InputTypeError(
            f"an encoder belongs to {SCRAMBLING}, but these images went through {evidence.scheme.name}: leave encoder "
            "(--model) out"
        )


def embeddings_of(encoder: nn.Module, images: Tensor) -> Tensor:
    """Return embeddings of plain images, float32 ``[N, E]``, on the images' device.

    Raises:
        ModelError: the encoder is in training mode, cannot take the images, or returns something else.
    """
    return F.embed(images, encoder).to(images.device)


def scrambler_of(encoder: nn.Module | None, key: Key | None) -> Callable[[Tensor], Tensor] | None:
    """Return a differentiable function that scrambles plain images; ``None`` without the encoder or its key.

    It returns values before rounding.
    """
    if encoder is None or not isinstance(key, OWSDKey):
        return None
    return partial(F.owsd_values, encoder=encoder, key=key)


class Embedder:
    """An encoder that embeds each plain image once.

    Args:
        encoder: in eval mode.
    """

    def __init__(self, encoder: nn.Module) -> None:
        self._encoder, self._made = encoder, dict[bytes, Tensor]()

    def __call__(self, images: Tensor) -> Tensor:
        """Return embeddings of plain images ``[N, C, H, W]``, float32 ``[N, E]``."""
        digests = pixel_digests(images)
        missing = {each: index for index, each in enumerate(digests) if each not in self._made}
        if missing:
            made = embeddings_of(self._encoder, images[list(missing.values())])
            self._made |= dict(zip(missing, made, strict=True))
        return torch.stack([self._made[each] for each in digests])


def encoder_digest(encoder: nn.Module, plain: Tensor | None) -> str:
    """Return 64 hex digits of class, weights, structure, and the embedding of the first plain image, if there is one.

    The embedding reveals differences that neither weights nor structure show, such as another normalisation; and,
    before the work begins, that the encoder cannot take such images. Images with NaN are skipped: attacks refuse them,
    and say so.

    Raises:
        ModelError: the encoder is in training mode, cannot take the image, or returns something else.
    """
    probe = "-"
    if plain is not None and len(finite := plain.flatten(1).isfinite().all(1).nonzero().flatten()):
        probe = tensor_digest(embeddings_of(encoder, plain[finite[:1]]))
    return hashlib.sha256(f"{model_digest(encoder, b'')} {probe} {encoder!r}".encode()).hexdigest()
