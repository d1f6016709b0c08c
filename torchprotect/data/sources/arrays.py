"""Data sets held in memory as arrays: MNIST and Fashion-MNIST as torchvision keeps them on disk."""

import gzip
import hashlib
import math
import struct
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchprotect._files import open_regular
from torchprotect.data.preparation import Shape
from torchprotect.data.sources._base import Header, Preparable, Sample
from torchprotect.data.sources._pictures import prepare_tensor
from torchprotect.errors import SourceError

_IDX_IMAGES, _IDX_LABELS = 0x00000803, 0x00000801
_CLOTHES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
_LARGEST = 1 << 28  # bytes of pixels in a file


class ArraySource(Preparable):
    """Images in memory: uint8 ``[N, C, H, W]``, labels ``[N]``, names of the classes."""

    def __init__(
        self,
        name: str,
        folder: Path,
        images: NDArray[np.uint8],
        labels: NDArray[Any],
        class_names: tuple[str, ...] | None = None,
    ) -> None:
        self.folders: tuple[Path | str, ...] = (folder,)
        self.left_out: Counter[str] = Counter()
        self.description, self.class_names = name, class_names
        self._name, self._images, self._labels = name, images, labels

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Sample:
        image = torch.from_numpy(self._images[index].copy())
        try:
            return Sample(prepare_tensor(image, self.preparation), int(self._labels[index]))
        except ValueError as error:
            raise SourceError(f"cannot prepare image {self.name(index)}: {error}") from error

    def name(self, index: int) -> str:
        """Return the name of the data set and the index in it."""
        return f"{self._name}/{index}"

    def known_labels(self) -> list[int]:
        """Return all labels."""
        labels: list[int] = self._labels.tolist()
        return labels

    def locate(self, index: int) -> str:
        """Return the name: the images of a set are all in one file."""
        return self.name(index)

    def header(self, index: int) -> Header:
        """Return the shape, which is the same for all images."""
        return Header(self.preparation.shape(Shape(*self._images.shape[1:])))

    def listing(self) -> Iterator[bytes]:
        """Yield name and length of the data set."""
        yield f"{self._name}\0{len(self)}".encode()

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield a digest of each image, and its label."""
        for index in indices:
            yield hashlib.sha256(self._images[index].tobytes()).digest() + str(self._labels[index]).encode()


def mnist(root: Path, split: str) -> ArraySource:
    """Read MNIST from torchvision's ``root``; ``split`` is ``train`` or ``test``."""
    return _idx_source("mnist", root / "MNIST" / "raw", split, tuple("0123456789"))


def fashion_mnist(root: Path, split: str) -> ArraySource:
    """Read Fashion-MNIST from torchvision's ``root``; ``split`` is ``train`` or ``test``."""
    return _idx_source("fashion-mnist", root / "FashionMNIST" / "raw", split, _CLOTHES)


def _idx_source(name: str, folder: Path, split: str, class_names: tuple[str, ...]) -> ArraySource:
    stem = "train" if split == "train" else "t10k"
    images = _read_idx(folder / f"{stem}-images-idx3-ubyte", _IDX_IMAGES)
    labels = _read_idx(folder / f"{stem}-labels-idx1-ubyte", _IDX_LABELS)
    if len(images) != len(labels):
        raise SourceError(f"{folder} holds {len(images)} images, but {len(labels)} labels")
    return ArraySource(f"{name}/{split}", folder, images[:, None], labels, class_names)


def _read_idx(path: Path, magic: int) -> NDArray[np.uint8]:
    """Read an IDX file of unsigned bytes, or the ``.gz`` beside it; never more than its header declares."""
    packed = path.with_name(path.name + ".gz")
    dimensions = magic & 0xFF
    try:
        with open_regular(path if path.exists() else packed) as file:
            stream: Any = file if path.exists() else gzip.open(file)  # noqa: SIM115 - closed with the file below it
            start = stream.read(4 * (1 + dimensions))
            shape = [size for (size,) in struct.iter_unpack(">I", start[4:])] if len(start) % 4 == 0 else []
            fits = len(shape) == dimensions and int.from_bytes(start[:4], "big") == magic
            size = math.prod(shape) if fits else _LARGEST + 1
            content = stream.read(size + 1) if size <= _LARGEST else b""
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"cannot read {path} or {packed.name} beside it: {error}") from error
    if size != len(content):
        raise SourceError(f"{path} is not an IDX file of the expected kind, or it is truncated")
    return np.frombuffer(content, np.uint8).reshape(shape)
