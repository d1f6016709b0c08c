"""``Disguise``, base class of all disguises: each picture of a sample is disguised, or an error is raised."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms import v2

from torchprotect._inputs import type_name
from torchprotect.errors import InputShapeError, InputTypeError, NotInvertibleError
from torchprotect.functional.picture import how_to_convert, is_pure_tensor
from torchprotect.keys import Key, PermutationKey

NoiseSource = Callable[[tuple[int, ...]], Tensor]
"""Takes a shape; returns float32 uniform numbers in [0, 1) of that shape on the CPU."""

_PICTURES = (PIL.Image.Image, tv_tensors.Image, tv_tensors.Video)
_HARMLESS = (str, int, float, complex, type(None), np.number, np.bool_, torch.Size, torch.dtype, torch.device)
_BYTE_SIZED = (torch.uint8, torch.int8, np.dtype(np.uint8), np.dtype(np.int8))


def draw_from_torch(shape: tuple[int, ...]) -> Tensor:
    """Draw from torch's global generator: fresh numbers, reproducible from its seed, and therefore not secret."""
    return torch.rand(shape)


class DisguisedBatch(NamedTuple):
    """Result of :meth:`Disguise.disguise_batch`.

    Attributes:
        images: ``[N, C, H, W]``.
        distances: L2 distance of each image to its plain version in pixel units (0..1), float64 ``[N]``; ``None``
            unless the disguise is a perturbation within a budget.
    """

    images: Tensor
    distances: Tensor | None


class Disguise(v2.Transform):
    """Base class of the transforms that disguise pictures. It raises where v2 would leave a value unprotected.

    Every PIL image, ``tv_tensors.Image`` and ``tv_tensors.Video`` in a sample is disguised. A pure tensor is the
    picture if it is the only value with two or more dimensions. Labels may stand beside it: numbers, strings, and
    tensors or arrays with at most one dimension. Everything else raises: masks, boxes, key points, bytes, a row of
    8-bit numbers (it may be an encoded picture), a second pure tensor, and objects of unknown type. There is no ``p``.

    A subclass defines ``transform`` (disguises one picture), ``describe``, and ``draw`` if it needs noise. An export
    calls ``disguise_batch`` and reads the attributes below to plan its batches and workers. A subclass with its own
    ``forward`` must therefore define its own ``disguise_batch``.

    Attributes:
        security_claim: always ``"obfuscation"``.
        noise_source: where the noise for a sample is drawn from.
        key: the secret; ``None`` if the transform has none and therefore protects nothing by itself.
        permutation: key of the block order, if the disguise also permutes blocks.
        inverse: whether the transform turns disguised pictures back into plain ones.
        leaves_labels: whether it was made from a bundle with a label map, which the data set has to apply.
        needs_labels: whether ``disguise_batch`` needs the class of each image.
        uses_gradients: whether it computes gradients; exports then request deterministic algorithms.
    """

    security_claim = "obfuscation"
    noise_source: NoiseSource = staticmethod(draw_from_torch)
    key: Key | None = None
    permutation: PermutationKey | None = None
    inverse: bool = False
    leaves_labels: bool = False
    needs_labels: bool = False
    uses_gradients: bool = False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "forward" in vars(cls) and "disguise_batch" not in vars(cls):
            raise TypeError(f"{cls.__name__} has its own forward, which exports do not call: write disguise_batch too")

    @property
    def max_batch(self) -> int | None:
        """Largest number of images that one call of ``disguise_batch`` accepts; ``None`` if there is no limit.

        If there is a limit, the last bits of a result may depend on which images share a batch.
        """
        return None

    @property
    def device(self) -> torch.device | None:
        """The only device that the disguise computes on; ``None`` if it computes wherever the picture is."""
        return None

    def describe(self) -> dict[str, Any]:
        """Return the name and the public parameters, as they are written to a manifest."""
        return {"name": type(self).__name__}

    def disguise_batch(
        self, images: Tensor, labels: Tensor | None = None, *, noise: NoiseSource = draw_from_torch
    ) -> DisguisedBatch:
        """Disguise a batch of images, using no state except the settings, so that any process can do it.

        Args:
            images: ``[N, C, H, W]``.
            labels: class numbers, int64 ``[N]``; only for disguises that need them.
            noise: source of all noise. It is asked for shapes whose first dimension is N. An export passes a source
                that knows the ids of the images and draws from a keyed stream for each.

        Returns:
            The disguised images and, for a perturbation, their distances.

        Raises:
            InputShapeError: ``images`` is not a batch of images.
        """
        require_batch(images)
        return DisguisedBatch(self.transform(images, self.draw(tuple(images.shape), noise)), None)

    def require_invertible(self) -> None:
        """Check that :meth:`undo` can restore the pictures, apart from information that was lost before.

        Raises:
            NotInvertibleError: the disguise discards information that the inverse would need.
        """
        name = type(self).__name__
        raise NotInvertibleError(f"{name} cannot be undone, not even with its key; keep the plain images")

    def undo(self, images: Tensor, params: dict[str, Any], *, scale: int) -> Tensor:
        """Restore a batch to the state before it was disguised.

        Args:
            images: disguised, ``[N, C, H, W]``.
            params: what ``draw`` returned for this batch when it was disguised.
            scale: value of white in plain pixels: 255 for uint8, 1 for floating point.

        Raises:
            NotInvertibleError: the disguise discards information that the inverse would need.
        """
        raise NotInvertibleError(
            f"{type(self).__name__} cannot be undone, not even with its key; keep the plain images"
        )

    def for_batches(self) -> "Disguise":
        """Return this disguise in a form for ``disguise_batch`` alone, which can be sent to a worker process."""
        return self

    def check_label(self, label: int | tuple[int, ...] | None, where: str) -> None:
        """Check that ``disguise_batch`` can take an image of this class.

        Args:
            label: one class number, several, or ``None`` if the image has none.
            where: location of the sample, for the error message.

        Raises:
            LabelError: it cannot.
        """

    def note_on(self, images: Iterable[Tensor]) -> str | None:
        """Return advice for the owner of such images, in whole sentences, or ``None``.

        Args:
            images: some of the images, ``[C, H, W]``, all of one shape; each is read only when it is iterated over.
        """
        return None

    def check_inputs(self, flat_inputs: list[Any]) -> None:
        """Refuse a sample in which something would be left unprotected.

        Raises:
            InputTypeError: the message names the type of the value.
        """
        name = type(self).__name__
        pictures = [value for value in flat_inputs if self.is_picture(value)]
        for value in flat_inputs:
            if not self.is_picture(value) and not _is_label(value):
                hint = how_to_convert(value) or "take it out of the sample before the disguise"
                raise InputTypeError(f"{name} would leave a value of type {type_name(value)} unprotected; {hint}")
        if not pictures:
            raise InputTypeError(
                f"{name} found no picture in the sample: nothing would be disguised. Pictures are PIL images, "
                "tv_tensors.Image or Video, and a tensor [..., C, H, W]; lists of numbers are not"
            )
        if len(pictures) > 1 and any(is_pure_tensor(value) for value in pictures):
            raise InputTypeError(
                f"{name} cannot tell which tensors are pictures: a pure tensor must be the only value with two or more "
                "dimensions. Wrap pictures as tv_tensors.Image, take other tensors out of the sample, and give class "
                "numbers, argmax(-1), in place of one-hot rows"
            )

    @staticmethod
    def is_picture(value: Any) -> bool:
        """Return whether a value of a sample is a picture to be disguised."""
        return isinstance(value, _PICTURES) or (is_pure_tensor(value) and value.ndim > 1)

    def draw(self, shape: tuple[int, ...], noise: NoiseSource) -> dict[str, Any]:
        """Draw the noise for one picture, or for one batch of pictures.

        Args:
            shape: shape of the picture, ``[..., C, H, W]``.
            noise: source to draw from.

        Returns:
            The parameters for ``transform``.
        """
        return {}

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        """Draw the noise for one picture from ``noise_source``."""
        source = self.noise_source
        if source is not draw_from_torch:
            _refuse_to_trace(source, self)
        return self.draw(picture_shape(flat_inputs[0]), source)

    def forward(self, *inputs: Any) -> Any:
        """Disguise every picture of a sample and leave the rest unchanged.

        v2 advises against overriding this method. It is necessary because v2 takes the first pure tensor for the
        picture, even if it is a label, and draws once for all pictures of a sample. Two pictures under the same noise
        would reveal it.
        """
        if len(inputs) == 1 and self.is_picture(inputs[0]):  # the common case: nothing to flatten or check
            return self.transform(inputs[0], self.make_params(list(inputs)))
        flat, spec = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        self.check_inputs(flat)
        return tree_unflatten(
            [self.transform(x, self.make_params([x])) if self.is_picture(x) else x for x in flat], spec
        )

    def __repr__(self) -> str:
        text: str = super().__repr__()
        return f"{text[:-1]}, labels=left to the data set)" if self.leaves_labels else text

    def extra_repr(self) -> str:
        """Return the public parameters and the redacted keys."""
        hidden = ("training", "noise_source", "leaves_labels")
        shown = {k: v for k, v in self.__dict__.items() if not k.startswith("_") and k not in hidden}
        return ", ".join(f"{name}={value!r}" for name, value in shown.items() if value is not None)


def _refuse_to_trace(source: NoiseSource, disguise: Disguise) -> None:
    if torch.compiler.is_compiling():
        raise InputTypeError(
            f"a traced program draws noise from torch's generator only, not from a {type_name(source)}, whose numbers "
            f"would be the same at each call; leave noise_source of {type(disguise).__name__} as it is"
        )


def _is_label(value: Any) -> bool:
    if isinstance(value, _HARMLESS):
        return True
    if not is_pure_tensor(value) and (type(value) is not np.ndarray or value.dtype.kind not in "biufcU"):
        return False
    return value.ndim == 0 or (value.ndim == 1 and value.dtype not in _BYTE_SIZED)


def require_batch(images: Any) -> None:
    """Check for a batch of images.

    Raises:
        InputShapeError: it is something else.
    """
    if not isinstance(images, Tensor) or images.ndim != 4:
        received = list(images.shape) if isinstance(images, Tensor) else type_name(images)
        raise InputShapeError(
            f"a batch of images [N, C, H, W] is needed, got {received}; call the transform for a sample"
        )


def picture_shape(picture: Any) -> tuple[int, ...]:
    """Return ``[..., C, H, W]`` of a PIL image or a tensor."""
    if isinstance(picture, PIL.Image.Image):
        return (len(picture.getbands()), picture.height, picture.width)
    return tuple(picture.shape)
