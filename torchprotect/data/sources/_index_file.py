"""A file with the index of tar archives, so that they are read from start to end only once."""

import io
import math
import os
import zipfile
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchprotect._json import canonical, parse
from torchprotect.data.sources._archives import Archives
from torchprotect.data.sources._label_members import ClassMembers
from torchprotect.data.sources._samples import Names, TarSamples, scan
from torchprotect.data.store import open_parent
from torchprotect.errors import SourceError

_FORMAT, _VERSION = "torchprotect-index", 1
_LIMIT = 8 << 30  # bytes of an index: 100 million samples
_LABELS = 10**18  # as many digits as a label in a tar may have


def load_or_scan(location: str | os.PathLike[str], archives: Archives) -> TarSamples:
    """Return the samples of archives from an index file; without one, scan them and write it.

    Args:
        location: path or URL of the file.
        archives: that it must be the index of.

    Raises:
        SourceError: the file is damaged, no index, or that of other archives; or the archives cannot be scanned.
        StoreError: a store cannot be reached.
    """
    store, name = open_parent(location)
    try:
        return _load(store.read(name, _LIMIT), os.fspath(location), archives)
    except FileNotFoundError:
        store.prepare()  # fail before the scan if the index cannot be written
    samples = scan(archives, ClassMembers())
    try:
        store.create(name, _to_bytes(samples, archives))
    except FileExistsError:  # another process was faster
        return _load(store.read(name, _LIMIT), os.fspath(location), archives)
    return samples


def _to_bytes(samples: TarSamples, archives: Archives) -> bytes:
    about = {
        "format": _FORMAT,
        "version": _VERSION,
        "tars": [
            {"name": name, "size": entry.size, "tag": entry.tag}
            for name, entry in zip(archives.names, archives.entries, strict=True)
        ],
        "left_out": dict(samples.left_out),
    }
    file = io.BytesIO()
    np.savez(
        file,
        about=_bytes(canonical(about)),
        keys=_bytes(samples.keys.joined),
        key_ends=samples.keys.ends,
        rows=samples.rows,
    )
    return file.getvalue()


def _load(content: bytes, location: str, archives: Archives) -> TarSamples:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as file:
            about = parse(_read(file, "about", "uint8", 1).tobytes())
            keys, key_ends = _read(file, "keys", "uint8", 1), _read(file, "key_ends", "int64", 1)
            rows = _read(file, "rows", "int64", 2)
        tars, left_out = _require_about(about)
        _require_same_tars(location, tars, archives)
        _require(len(key_ends) == len(rows) > 0 and rows.shape[1] == 4, "rows and keys do not match")
        _require(bool((np.diff(key_ends, prepend=0) >= 0).all()) and key_ends[-1] == len(keys), "its keys overlap")
        _require_within(rows, np.array([entry.size for entry in archives.entries], dtype=np.int64))
    except SourceError:
        raise
    except Exception as error:  # zipfile and numpy fail in many ways on a hostile file
        raise SourceError(
            f"{location} is not a torchprotect index, or it is damaged ({error}); name another file, or delete this "
            "one if it was an index, and the next run makes it"
        ) from error
    return TarSamples(Names(keys.tobytes(), key_ends), rows, left_out)


def _read(file: zipfile.ZipFile, name: str, dtype: str, dimensions: int) -> NDArray[Any]:
    """Return one array. Unlike ``np.load``, never allocates more than the file really holds."""
    info = file.getinfo(f"{name}.npy")
    _require(info.compress_type == zipfile.ZIP_STORED and info.file_size == info.compress_size, f"{name} is packed")
    content = io.BytesIO(file.read(info))
    version = np.lib.format.read_magic(content)
    _require(version == (1, 0), f"{name} has another version")
    shape, fortran, found = np.lib.format.read_array_header_1_0(content)
    rest = content.getbuffer()[content.tell() :]
    _require(found == np.dtype(dtype) and len(shape) == dimensions and not fortran, f"{name} has another type")
    fits = all(size >= 0 for size in shape) and math.prod(shape) * found.itemsize == len(rest)
    _require(fits, f"{name} has another size")
    return np.frombuffer(rest, found).reshape(shape)


def _require_about(about: Any) -> tuple[list[Any], Counter[str]]:
    _require(
        isinstance(about, dict) and (about.get("format"), about.get("version")) == (_FORMAT, _VERSION),
        "another format or version",
    )
    tars, left_out = about["tars"], about["left_out"]
    _require(isinstance(tars, list) and all(isinstance(tar, dict) for tar in tars), "no list of tars")
    _require(isinstance(left_out, dict) and all(type(n) is int and n > 0 for n in left_out.values()), "wrong counts")
    return tars, Counter(left_out)


def _require_same_tars(location: str, tars: list[dict[str, Any]], archives: Archives) -> None:
    """Check that the index is of these archives, as they are now.

    Raises:
        SourceError: it is not; the message says which archive differs.
    """
    again = f"if the tars are the right ones, delete {location}, and the next run makes it again"
    if len(tars) != len(archives.names):
        raise SourceError(f"{location} is the index of {len(tars)} tars, not of {len(archives.names)}; {again}")
    for tar, name, entry in zip(tars, archives.names, archives.entries, strict=True):
        if tar.get("name") != name:
            raise SourceError(f"{location} is the index of {tar.get('name')!r:.500}, where {name} is given; {again}")
        if (tar.get("size"), tar.get("tag")) != (entry.size, entry.tag):
            raise SourceError(f"{name} changed since {location} was made; {again}")


def _require_within(rows: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
    """Check that each image lies within an archive that there is."""
    archive, offset, size, label = rows.T
    _require(bool(((archive >= 0) & (archive < len(sizes))).all()), "an image lies in no tar")
    inside = (offset >= 0) & (size >= 0) & (offset <= sizes[archive]) & (size <= sizes[archive] - offset)
    _require(bool(inside.all()), "an image does not lie within its tar")
    _require(bool(((label >= -1) & (label < _LABELS)).all()), "a label is out of range")


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise ValueError(reason)


def _bytes(content: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(content, np.uint8)
