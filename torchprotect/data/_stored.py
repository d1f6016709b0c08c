"""Read the samples of one shard, checking every byte to the end of the file."""

import hashlib
import io
import re
from collections.abc import Iterator
from typing import Any, BinaryIO, NamedTuple

from torch import Tensor

from torchprotect.data._decode import decode
from torchprotect.data._labels import from_member, most_bytes
from torchprotect.data._tar import BLOCK, parse_header
from torchprotect.data.sources import Label
from torchprotect.data.store import Store
from torchprotect.errors import VerificationError

_MEMBER = re.compile(r"([0-9a-f]{32})\.(png|npy|cls|json)")
_LABELS = {"cls": "class number", "json": "list of ascending class numbers"}
_CLASS_DIGITS = 18  # int64
_CLASS_NUMBER = re.compile(rb"[0-9]{1,18}")
_MOST_CHANNELS, _HEADERS = 1 << 10, 1 << 16  # of an image, and bytes beside its pixels
_LARGEST = 1 << 30  # bytes of an image, if the manifest states no size
_CHUNK = 1 << 20


class Located(NamedTuple):
    """One sample as it is stored: id, format and content of the image, its place in the shard, and the label."""

    id: str
    kind: str
    offset: int
    content: bytes
    label: Label


class Stored(NamedTuple):
    """One sample of an export: its id, the image ``[C, H, W]``, and its class number or numbers, if it has any."""

    id: str
    image: Tensor
    label: Label


def read_shard(
    store: Store,
    entry: dict[str, Any],
    image_size: tuple[int, int] | None,
    *,
    classes: int | None = None,
    verify: bool = True,
) -> Iterator[Stored]:
    """Yield the samples of a shard, and compare it with its entry in the manifest.

    Args:
        store: store of the export.
        entry: entry of the shard, in the manifest.
        image_size: of all images, if the manifest states it.
        classes: number of classes, where the manifest states it: then each image has a list of class numbers.
        verify: compare the SHA-256 of the file too, after its last sample.

    Raises:
        VerificationError: the shard is damaged, or is not the one in the manifest.
    """
    path = store.path_of(entry["name"])
    for found in locate(store, entry, image_size, classes=classes, verify=verify):
        yield Stored(found.id, decode_located(found, path, image_size), found.label)


def locate(
    store: Store,
    entry: dict[str, Any],
    image_size: tuple[int, int] | None,
    *,
    classes: int | None = None,
    verify: bool = True,
) -> Iterator[Located]:
    """Yield the samples of a shard as :func:`read_shard` does, but do not decode their images."""
    path = store.path_of(entry["name"])
    try:
        with store.open(entry["name"]) as file:
            yield from _Reading(file, path, entry, image_size, classes, verify).samples()
    except OSError as error:
        raise VerificationError(f"cannot read {path}: {error.strerror or error}") from error


def decode_located(found: Located, path: str, image_size: tuple[int, int] | None) -> Tensor:
    """Return the image ``[C, H, W]`` of a sample.

    Args:
        found: the sample.
        path: path of its shard, for error messages.
        image_size: that it must have, if the manifest states it.

    Raises:
        VerificationError: no export writes such a file, or it has another size.
    """
    name = f"{found.id}.{found.kind}"
    try:
        image = decode(found.kind, found.content)
    except ValueError as error:
        raise damage(path, f"{name}: {error}") from error
    size = (image.shape[-2], image.shape[-1])
    if image_size is not None and size != image_size:
        raise damage(path, f"{name} has {size[0]} x {size[1]} pixels, the manifest says {image_size}")
    return image


def damage(path: str, how: str) -> VerificationError:
    """Return the error for a shard that is not what the manifest says."""
    return VerificationError(
        f"{path} is damaged, or it was replaced: {how}; `torchprotect verify` checks the whole export"
    )


class _ReadAhead:
    """A file that is read from its start in large pieces, hashed on the way, and returned in small ones.

    Args:
        file: open for reading.
        verify: whether to hash it.

    Attributes:
        size: in bytes.
    """

    def __init__(self, file: BinaryIO, verify: bool) -> None:
        self.size = file.seek(0, io.SEEK_END)
        file.seek(0)
        self._file, self._digest = file, hashlib.sha256() if verify else None
        self._ahead, self._taken = b"", 0

    def take(self, size: int) -> bytes:
        """Return the next bytes, fewer at the end of the file."""
        if len(self._ahead) - self._taken < size:
            self._read(size)
        content = self._ahead[self._taken : self._taken + size]
        self._taken += len(content)
        return content

    def _read(self, size: int) -> None:
        pieces, found = [self._ahead[self._taken :]], len(self._ahead) - self._taken
        while found < size and (piece := self._file.read(max(_CHUNK, size - found))):
            if self._digest is not None:
                self._digest.update(piece)
            pieces.append(piece)
            found += len(piece)
        self._ahead, self._taken = b"".join(pieces), 0

    @property
    def sha256(self) -> str:
        """Hash of what was read, in hex; ``""`` if it is not hashed."""
        return "" if self._digest is None else self._digest.hexdigest()


class _Reading:
    """One pass through the file of a shard."""

    def __init__(
        self,
        file: BinaryIO,
        path: str,
        entry: dict[str, Any],
        size: tuple[int, int] | None,
        classes: int | None,
        verify: bool,
    ) -> None:
        self._label_kind, self._classes = "cls" if classes is None else "json", classes
        self._path, self._entry, self._image_size, self._verify = path, entry, size, verify
        self._file = _ReadAhead(file, verify)
        self._offset, self._count = 0, 0

    def samples(self) -> Iterator[Located]:
        stated = self._entry["size"]
        found = self._file.size
        if found != stated:
            raise self._damage(f"it has {found:,} bytes, the manifest says {stated:,}")
        image: Located | None = None
        for name, offset, content in self._members():
            named = _MEMBER.fullmatch(name)
            if named is None or (named[2] in _LABELS and named[2] != self._label_kind):
                raise self._damage(f"member {name!r} is not ID.png, ID.npy or ID.{self._label_kind}")
            identity, kind = named.groups()
            if kind in _LABELS:
                label = self._parse_label(content)
                if image is None or image.id != identity or label is None:
                    raise self._damage(f"{name} is not a {_LABELS[kind]} behind its image")
                yield self._counted(image._replace(label=label))
                image = None
            else:
                if image is not None:
                    yield self._counted(image)
                image = Located(identity, kind, offset, content, None)
        if image is not None:
            yield self._counted(image)
        self._check_end()

    def _members(self) -> Iterator[tuple[str, int, bytes]]:
        """Yield names, first bytes and contents."""
        while (header := self._take(BLOCK)) != bytes(BLOCK):
            try:
                name, size = parse_header(header)
            except ValueError:
                raise self._damage(f"there is no header of a member at byte {self._offset - BLOCK:,}") from None
            if size > self._most_bytes(name):
                raise self._damage(f"{name} has {size:,} bytes, more than such a member can have")
            offset = self._offset
            content = self._take(size)
            self._take(-size % BLOCK)
            yield name, offset, content

    def _most_bytes(self, name: str) -> int:
        """Return the largest allowed size of a member: nothing larger than the manifest allows is read."""
        if name.endswith(".cls"):
            return _CLASS_DIGITS
        if name.endswith(".json"):
            return most_bytes(self._classes or 0)
        if self._image_size is None:
            return _LARGEST
        height, width = self._image_size
        return _MOST_CHANNELS * 8 * height * width + _HEADERS

    def _take(self, size: int) -> bytes:
        if size > self._entry["size"] - self._offset:
            raise self._damage("a member does not lie within the file")
        content = self._file.take(size)
        if len(content) < size:
            raise self._damage("it ends too early")
        self._offset += size
        return content

    def _parse_label(self, content: bytes) -> Label:
        """Return the label in a member, ``None`` if there is none."""
        if self._classes is not None:
            return from_member(content, self._classes)
        return int(content) if _CLASS_NUMBER.fullmatch(content) else None

    def _counted(self, found: Located) -> Located:
        self._count += 1
        return found

    def _check_end(self) -> None:
        if self._count != self._entry["count"]:
            raise self._damage(f"it holds {self._count:,} samples, the manifest says {self._entry['count']:,}")
        while block := self._file.take(_CHUNK):
            if block.strip(b"\0"):
                raise self._damage("something stands behind the end of the archive")
        if self._verify and self._file.sha256 != self._entry["sha256"]:
            raise self._damage("its SHA-256 is not the manifest's")

    def _damage(self, how: str) -> VerificationError:
        return damage(self._path, how)
