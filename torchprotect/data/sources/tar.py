"""WebDataset shards, indexed once and read by offset."""

import contextlib
import gzip
import os
import re
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from torchprotect.data._lock import SharedDescriptor
from torchprotect.data.sources._base import IMAGE_EXTENSIONS, Sample, decode
from torchprotect.errors import SourceError

_OPEN_FILES = 64
_SAMPLE_NAME = re.compile(r"((?:.*/)?[^./]+)[.]([^/]*)")  # hidden files, such as macOS adds, are passed over


class _Image(NamedTuple):
    file: int
    offset: int
    size: int
    label: int


class TarSource:
    """Samples ``KEY.png`` (or another image format) with ``KEY.cls`` in local tar files, gzipped or not.

    Gzipped files are unpacked into one temporary file without a name, which vanishes with the last process that reads
    it. Other members of a sample are left aside.
    """

    def __init__(self, paths: list[Path]) -> None:
        self.folders: tuple[Path, ...] = ()
        self._paths = paths
        self._handles: dict[int, int] = {}
        self._unpacked: SharedDescriptor | None = None
        self._keys: list[str] = []
        rows: list[_Image] = []
        with contextlib.ExitStack() as stack:
            store = stack.enter_context(tempfile.TemporaryFile()) if any(map(_is_gzipped, paths)) else None
            for number, path in enumerate(paths):
                try:
                    for key, row in _index(path, number, store):
                        self._keys.append(key)
                        rows.append(row)
                except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
                    raise (
                        error if isinstance(error, SourceError) else SourceError(f"cannot read {path}: {error}")
                    ) from error
            if store is not None:
                store.flush()
                self._unpacked = SharedDescriptor(os.dup(store.fileno()))
        if not rows:
            raise SourceError(f"no images in {paths[0]}" + (f" and {len(paths) - 1} more" if len(paths) > 1 else ""))
        self._rows = np.array(rows, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def __getitem__(self, index: int) -> Sample:
        row = _Image(*self._rows[index].tolist())
        name = f"{self._keys[index]} in {self._paths[row.file]}"
        try:
            content = os.pread(self._descriptor(row.file), row.size, row.offset)
        except OSError as error:
            raise SourceError(f"cannot read image {name}: {error.strerror}") from error
        return Sample(decode(content, name), None if row.label < 0 else row.label)

    def name(self, index: int) -> str:
        """Return the sample's key, as webdataset calls it."""
        return self._keys[index]

    def known_labels(self) -> list[int | None]:
        """Return all labels; no image is read for it."""
        return [None if label < 0 else label for label in self._rows[:, -1].tolist()]

    def listing(self) -> Iterator[bytes]:
        """Yield key, size and label of each sample."""
        for key, (_, _, size, label) in zip(self._keys, self._rows.tolist(), strict=True):
            yield f"{key}\0{size}\0{label}".encode(errors="surrogateescape")

    def _descriptor(self, file: int) -> int:
        if self._unpacked is not None and _is_gzipped(self._paths[file]):
            return self._unpacked.descriptor
        if file not in self._handles:
            if len(self._handles) >= _OPEN_FILES:
                os.close(self._handles.pop(next(iter(self._handles))))
            self._handles[file] = os.open(self._paths[file], os.O_RDONLY)
        return self._handles[file]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handles": {}}

    def __del__(self) -> None:
        for descriptor in self.__dict__.get("_handles", {}).values():
            os.close(descriptor)
        if self.__dict__.get("_unpacked") is not None:
            self._unpacked.close()  # type: ignore[union-attr]


def _is_gzipped(path: Path) -> bool:
    return path.suffix in (".gz", ".tgz")


def _index(path: Path, number: int, store: Any) -> Iterator[tuple[str, _Image]]:
    """Yield key and place of each image in a shard; images of gzipped shards lie in ``store``."""
    if not _is_gzipped(path):
        with path.open("rb") as file:
            yield from _index_file(file, path, number)
        return
    start = store.seek(0, os.SEEK_END)
    with gzip.open(path) as packed:
        shutil.copyfileobj(packed, store, 1 << 20)
    store.seek(start)
    yield from _index_file(store, path, number)


def _index_file(file: Any, path: Path, number: int) -> Iterator[tuple[str, _Image]]:
    place: tuple[int, int] | None = None
    label, current = -1, ""
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            archive.members = []  # type: ignore[attr-defined]  # keeps memory flat
            named = _SAMPLE_NAME.fullmatch(member.name)
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or named is None:
                continue
            key, extension = named.groups()
            if key.startswith("__") and key.endswith("__"):
                continue
            if key != current and current:
                yield current, _require_image(place, label, current, path, number)
                place, label = None, -1
            current, extension = key, extension.lower()
            if extension in IMAGE_EXTENSIONS:
                if place is not None:
                    raise SourceError(f"sample {key} in {path} holds two images; keep one")
                place = member.offset_data, member.size
            elif extension == "cls":
                label = _label(file, member, key, path)
        file.seek(archive.offset)
        if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):  # tarfile takes any bad header for the end
            raise SourceError(f"{path} is truncated or damaged: it does not end as a tar file does")
    if current:
        yield current, _require_image(place, label, current, path, number)


def _require_image(place: tuple[int, int] | None, label: int, key: str, path: Path, number: int) -> _Image:
    if place is None:
        raise SourceError(f"sample {key} in {path} holds no image ({', '.join(IMAGE_EXTENSIONS)})")
    return _Image(number, *place, label)


def _label(file: Any, member: tarfile.TarInfo, key: str, path: Path) -> int:
    position = file.tell()
    file.seek(member.offset_data)
    text = file.read(min(member.size, 32)).strip()
    file.seek(position)
    if not text.isdigit() or len(text) > 18:  # int64
        raise SourceError(f"the .cls of sample {key} in {path} is no class number")
    return int(text)
