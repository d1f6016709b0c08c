"""``OWSDScramble``."""

from typing import Any

import PIL.Image
import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_pil_image

from torchprotect import functional as F
from torchprotect._inputs import require_int
from torchprotect.errors import InputTypeError
from torchprotect.functional.picture import on_picture, planes_of
from torchprotect.keys import OWSDKey
from torchprotect.training import device_of
from torchprotect.transforms._disguise import Disguise
from torchprotect.transforms._keys import require_kind


class OWSDScramble(Disguise):
    """Scramble a picture beyond recognition by people: compute its embedding and feed it to a secret random generator.

    **What leaks.** Distances between embeddings survive almost unchanged (L0), and equal pictures give equal pictures.
    Known pairs teach an attacker to link other scrambled pictures to plain ones (L2). A cloud classifier's answer to
    the scrambled picture still says something about the plain one to whoever has its embedding; see
    :class:`torchprotect.owsd.Client`. It is obfuscation, not cryptographic confidentiality.

    Args:
        encoder: takes float images in 0..1 and returns embeddings ``[N, E]``; any normalisation happens inside it. It
            must be in eval mode. It is not registered as a submodule: its weights stay out of ``state_dict()``.
        key: the generator; it also fixes E and the size of the result.
        batch_size: images per forward pass of encoder and generator.

    Shape: uint8, or floating point in 0..1, ``[..., C, H, W]`` to uint8 ``[..., 3, h, w]`` of the key's image size, on
    the encoder's device. There is no inverse. Autocast and TF32 settings do not affect encoder and generator.

    Raises:
        ModelError: the encoder is in training mode, cannot take the images, or returns something other than embeddings.
        InputShapeError: the length of its embeddings differs from the key's.

    References:
        Savransky et al., One Way Scrambling by Deconvolution.
    """

    encoder: nn.Module
    key: OWSDKey

    def __init__(self, encoder: nn.Module, key: OWSDKey, *, batch_size: int = 32) -> None:
        super().__init__()
        require_kind("key", key, OWSDKey)
        if not isinstance(encoder, nn.Module):
            raise InputTypeError(f"encoder must be a torch.nn.Module, got {type(encoder).__name__}")
        self.__dict__["encoder"] = encoder  # bypass nn.Module.__setattr__, so that it is not registered as a submodule
        require_int("batch_size", batch_size, at_least=1)
        self.key = key
        self.batch_size = batch_size

    @property
    def device(self) -> torch.device:
        """The encoder's device."""
        return device_of(self.encoder)

    def describe(self) -> dict[str, Any]:
        """Return name and public parameters."""
        return {**super().describe(), "key": self.key.fingerprint, "image_size": list(self.key.image_size)}

    def extra_repr(self) -> str:
        """Return the class of the encoder and the redacted key."""
        return f"encoder={type(self.encoder).__name__}, key={self.key!r}, batch_size={self.batch_size}"

    def transform(self, inpt: Any, params: dict[str, Any]) -> Any:
        """Scramble one picture, or a batch of them; a PIL image of any mode becomes one of mode ``RGB``."""
        if isinstance(inpt, PIL.Image.Image):
            return to_pil_image(_scramble(planes_of(inpt), self))
        return _scramble(inpt, self)


@on_picture
def _scramble(images: Tensor, disguise: OWSDScramble) -> Tensor:
    flat = images.reshape(-1, *images.shape[-3:])
    made = F.owsd_scramble_images(flat, disguise.encoder, disguise.key, batch_size=disguise.batch_size)
    return made.unflatten(0, images.shape[:-3]) if images.ndim > 3 else made[0]
