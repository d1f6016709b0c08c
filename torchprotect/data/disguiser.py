"""Disguise further pictures like those of an export, as input for a model trained on it."""

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchprotect._files import read_regular
from torchprotect._inputs import type_name
from torchprotect.data._encode import convert_stored
from torchprotect.data.finished import Identities, open_finished, require_made_with
from torchprotect.data.keyed import KeystreamNoise
from torchprotect.data.preparation import other_decoders
from torchprotect.data.recipe import Recipe
from torchprotect.data.sources import decode, prepare_tensor, to_tensor
from torchprotect.errors import InputTypeError, SourceError
from torchprotect.functional.picture import require_uint8_or_unit_float
from torchprotect.keys import Key
from torchprotect.transforms import NoiseSource
from torchprotect.transforms.from_description import from_description

_LARGEST = 1 << 30  # bytes of a picture file

Picture: TypeAlias = str | os.PathLike[str] | PIL.Image.Image | NDArray[np.uint8] | Tensor
"""Path of a picture file; PIL image; uint8 array ``[H, W]`` or ``[H, W, C]``; or uint8 tensor ``[C, H, W]``."""


class Disguiser:
    """Prepare and disguise single pictures exactly as an export did.

    Args:
        like: folder or URL of a finished export, or its recipe.
        key: the key that the export was made with.
        identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`; the key does too.

    Attributes:
        recipe: the steps that a picture goes through.
        note: warns that image decoders have other versions than those of the export, so that pixels may differ;
            ``None`` if the versions agree.

    Raises:
        KeyKindError: the export was made with another key.
        NotInvertibleError: the disguise depends on a network, which the export does not hold.
        ExportError: ``like`` is not a finished export, or has steps that its manifest does not describe.
        VerificationError: the export was changed.
    """

    def __init__(self, like: str | os.PathLike[str] | Recipe, *, key: Key, identity: Identities = None) -> None:
        if isinstance(like, Recipe):
            like.require_key(key, "the recipe")
            self.recipe = like
        else:
            opened = open_finished(like, identity=identity, key=key)
            self.recipe = Recipe.of_opened(opened, require_made_with(opened, key))
        self.note = other_decoders({"decoders": self.recipe.decoders})
        self._pipeline = from_description(self.recipe.transform, key)
        self._store = torch.float16 if self.recipe.store == "float16" else None

    def __repr__(self) -> str:
        return f"Disguiser({self.recipe})"

    def __call__(self, picture: Picture) -> Tensor:
        """Return a picture as the export would hold it, ``[C, H, W]``; noise is drawn anew.

        Raises:
            SourceError: it cannot be read or prepared.
            KeySizeError: it has another size or number of channels than the key is for.
        """
        return self.disguise(self.prepare(picture)[None])[0]

    def prepare(self, picture: Picture) -> Tensor:
        """Return a picture as it is right before the disguise.

        A floating-point tensor in 0..1 is taken as it is if the scale is 1 and there is nothing to prepare.

        Returns:
            uint8 ``[C, H, W]``, or float32 in 0..1 if the scale is 1.

        Raises:
            SourceError: the picture cannot be read or prepared.
        """
        if isinstance(picture, Tensor) and picture.is_floating_point():
            return self._take_floats(picture)
        plain = self._read(picture)
        return plain if self.recipe.scale == 255 else plain.float() / 255

    def disguise(self, images: Tensor, *, noise: NoiseSource | None = None) -> Tensor:
        """Disguise prepared images ``[N, C, H, W]`` as the export would hold them.

        Args:
            images: from :meth:`prepare`.
            noise: source of noise; the operating system's entropy when ``None``.

        Raises:
            KeySizeError: the size or the number of channels of the images differs from the key's.
        """
        drawn = noise or KeystreamNoise(os.urandom(32), [os.urandom(16) for _ in images])
        disguised = self._pipeline.disguise_batch(images, None, noise=drawn).images
        return disguised if self._store is None else convert_stored(disguised, self._store)

    def _take_floats(self, picture: Tensor) -> Tensor:
        if self.recipe.scale != 1 or self.recipe.preparation:
            raise InputTypeError(f"a tensor must be a uint8 picture [C, H, W] in 0..255 here, not {picture.dtype}")
        require_uint8_or_unit_float(picture)
        return picture.float()

    def _read(self, picture: Any) -> Tensor:
        preparation = self.recipe.preparation
        if isinstance(picture, str | os.PathLike):
            try:
                content = read_regular(Path(picture), _LARGEST, SourceError)
                return decode(content, os.fspath(picture), preparation)
            except SourceError:
                raise
            except OSError as error:
                raise SourceError(f"cannot read {picture}: {error.strerror}") from error
        try:
            if isinstance(picture, PIL.Image.Image):
                return to_tensor(picture, preparation)
            return prepare_tensor(_as_planes(picture), preparation)
        except ValueError as error:
            raise SourceError(f"the picture cannot be used: {error}") from error


def _as_planes(picture: Any) -> Tensor:
    """Return a picture as uint8 ``[C, H, W]``.

    Raises:
        InputTypeError: it is none.
    """
    if isinstance(picture, np.ndarray) and picture.dtype == np.uint8 and picture.ndim in (2, 3):
        planes = picture[None] if picture.ndim == 2 else picture.transpose(2, 0, 1)
        return torch.from_numpy(np.ascontiguousarray(planes))
    if isinstance(picture, Tensor) and picture.dtype == torch.uint8 and picture.ndim == 3:
        return picture
    if isinstance(picture, np.ndarray | Tensor):
        expected = "[H, W] or [H, W, C]" if isinstance(picture, np.ndarray) else "[C, H, W]"
        raise InputTypeError(
            f"a picture must be uint8 {expected}, got {type_name(picture)} {picture.dtype} {list(picture.shape)}"
        )
    raise InputTypeError(f"a picture must be a path, a PIL image, an array or a tensor, got {type_name(picture)}")
