"""Disguising further pictures like those of an export: the input for a model trained on it."""

import os
from pathlib import Path
from typing import Any

import PIL.Image
import torch
from torch import Tensor

from torchprotect._inputs import type_name
from torchprotect.data._encode import convert_stored
from torchprotect.data.finished import Identities, open_finished, require_made_with
from torchprotect.data.keyed import KeystreamNoise
from torchprotect.data.preparation import Preparation, other_decoders
from torchprotect.data.sources import decode, to_tensor
from torchprotect.errors import InputTypeError, SourceError
from torchprotect.keys import Key
from torchprotect.transforms.from_description import from_description


class Disguiser:
    """Prepares and disguises pictures with the settings and the key of an export.

    Noise is drawn anew for each picture, from the entropy of the operating system.

    Args:
        export: folder or URL of a finished export.
        key: that it was made with.
        identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`; the key does too.

    Attributes:
        preparation: steps before the disguise.
        note: on other versions of decoders than those of the export, which may give other pixels; ``None`` if there are
            none.

    Raises:
        KeyKindError: the export was made with another key.
        NotInvertibleError: the disguise depends on a network, which the export does not hold.
        ExportError: it is no finished export, or has steps that its manifest does not describe.
        VerificationError: it was changed.
    """

    def __init__(self, export: str | os.PathLike[str], *, key: Key, identity: Identities = None) -> None:
        opened = open_finished(export, identity=identity, key=key)
        plan, manifest = require_made_with(opened, key), opened.manifest
        self.note = other_decoders(plan)
        self.preparation = Preparation.from_description(manifest.get("prepare", {}))
        self._pipeline = from_description(manifest["transform"], key)
        self._scale = manifest["plain"]["scale"]
        self._store = torch.float16 if manifest.get("store") == "float16" else None

    def __repr__(self) -> str:
        return f"Disguiser({self.preparation}, {self._pipeline})"

    def __call__(self, picture: str | os.PathLike[str] | PIL.Image.Image) -> Tensor:
        """Return a picture as the export would hold it, ``[C, H, W]``.

        Args:
            picture: path of a picture file, or a PIL image.

        Raises:
            SourceError: it cannot be read or prepared.
            KeySizeError: it has another size or number of channels than the key is for.
        """
        plain = self._read(picture)
        if self._scale == 1:
            plain = plain.float() / 255
        noise = KeystreamNoise(os.urandom(32), [os.urandom(16)])
        disguised = self._pipeline.disguise_batch(plain[None], None, noise=noise).images
        return disguised[0] if self._store is None else convert_stored(disguised, self._store)[0]

    def _read(self, picture: Any) -> Tensor:
        if isinstance(picture, PIL.Image.Image):
            try:
                return to_tensor(picture, self.preparation)
            except ValueError as error:
                raise SourceError(f"the picture cannot be used: {error}") from error
        if not isinstance(picture, str | os.PathLike):
            raise InputTypeError(f"a picture must be a path or a PIL image, got {type_name(picture)}")
        try:
            return decode(Path(picture).read_bytes(), os.fspath(picture), self.preparation)
        except OSError as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"cannot read {picture}: {error.strerror}") from error
