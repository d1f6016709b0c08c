"""What every disguise shares: it covers each picture of a sample, or raises."""

from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2

from torchprotect._inputs import type_name
from torchprotect.errors import InputTypeError
from torchprotect.functional.picture import how_to_convert

NoiseSource = Callable[[tuple[int, ...]], Tensor]
"""Takes a shape, returns float32 uniforms in [0, 1) of it on the CPU."""

_PICTURES = (PIL.Image.Image, tv_tensors.Image, tv_tensors.Video)
_HARMLESS = (str, int, float, complex, type(None), np.number, np.bool_, torch.Size, torch.dtype, torch.device)
_BYTE_SIZED = (torch.uint8, torch.int8, np.dtype(np.uint8), np.dtype(np.int8))


def draw_from_torch(shape: tuple[int, ...]) -> Tensor:
    """Draw from torch's global generator: fresh each time, reproducible by its seed, and so no secret."""
    return torch.rand(shape)


class Disguise(v2.Transform):
    """Base of the transforms that cover pictures. It fails closed, where v2 would pass a value on in clear.

    Every PIL image, ``tv_tensors.Image`` and ``tv_tensors.Video`` in a sample is disguised. A pure tensor is the
    picture when it is the only value with two or more dimensions; beside it labels may stand: numbers, strings, tensors
    and arrays of at most one dimension. Anything else raises: masks, boxes, key points, bytes, a row of 8-bit numbers
    (it may be an encoded picture), a second pure tensor, objects of unknown type. There is no ``p``.

    Attributes:
        security_claim: always ``"obfuscation"``.
        noise_source: where noise is drawn from, if any is; an export replaces it by a keyed stream.
    """

    security_claim = "obfuscation"
    noise_source: NoiseSource = staticmethod(draw_from_torch)

    def describe(self) -> dict[str, Any]:
        """Return name and public parameters, as they stand in a manifest."""
        return {"name": type(self).__name__}

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse a sample in which something would pass in clear.

        Raises:
            InputTypeError: the message names the type.
        """
        name = type(self).__name__
        pictures = [value for value in flat_inputs if self._is_picture(value)]
        for value in flat_inputs:
            if not self._is_picture(value) and not _is_label(value):
                hint = how_to_convert(value) or "take it out of the sample before the disguise"
                raise InputTypeError(f"{name} would leave a value of type {type_name(value)} unprotected; {hint}")
        if not pictures:
            raise InputTypeError(
                f"{name} found no picture in the sample: nothing would be disguised. Pictures are PIL images, "
                "tv_tensors.Image or Video, and a tensor [..., C, H, W]; lists of numbers are not"
            )
        if len(pictures) > 1 and any(type(value) is Tensor for value in pictures):
            raise InputTypeError(
                f"{name} cannot tell which tensors are pictures: a pure tensor must be the only value with two or more "
                "dimensions. Wrap pictures as tv_tensors.Image, take other tensors out of the sample, and give class "
                "numbers, argmax(-1), in place of one-hot rows"
            )

    @staticmethod
    def _is_picture(value: Any) -> bool:
        return isinstance(value, _PICTURES) or (type(value) is Tensor and value.ndim > 1)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw what one picture needs."""
        return {}

    def forward(self, *inputs: Any) -> Any:
        """Disguise every picture of a sample; the rest keeps its place.

        v2 asks not to override this. It is done because v2 takes the first pure tensor for the picture, be it a label,
        and draws once for all pictures of a sample, while two pictures under one noise would give it away.
        """
        if len(inputs) == 1 and self._is_picture(inputs[0]):  # as in most datasets: nothing to take apart or refuse
            return self.transform(inputs[0], self.make_params(list(inputs)))
        flat, spec = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        self.check_inputs(flat)
        return tree_unflatten(
            [self.transform(x, self.make_params([x])) if self._is_picture(x) else x for x in flat], spec
        )

    def extra_repr(self) -> str:
        """Show keys redacted and the public parameters."""
        shown = {
            k: v for k, v in self.__dict__.items() if not k.startswith("_") and k not in ("training", "noise_source")
        }
        return ", ".join(f"{name}={value!r}" for name, value in shown.items() if value is not None)


def _is_label(value: Any) -> bool:
    if isinstance(value, _HARMLESS):
        return True
    if type(value) not in (Tensor, np.ndarray) or (type(value) is np.ndarray and value.dtype.kind not in "biufcU"):
        return False
    return value.ndim == 0 or (value.ndim == 1 and value.dtype not in _BYTE_SIZED)


def picture_shape(picture: Any) -> tuple[int, ...]:
    """Return ``[..., C, H, W]`` of a PIL image or a tensor."""
    if isinstance(picture, PIL.Image.Image):
        return (len(picture.getbands()), picture.height, picture.width)
    return tuple(picture.shape)
