"""Shards by hand: a writer that leaves no half shard."""

import io
import json
import shutil
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect._files import atomic_file
from torchprotect.data._encode import encode
from torchprotect.data._png import has_png
from torchprotect.errors import InputTypeError

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


class ShardWriter:
    """Writes WebDataset shards as ``webdataset.ShardWriter`` does, but never half of one.

    A shard is written under a temporary name and renamed when it is whole; an exception inside ``with`` leaves the
    shard in hand under no name at all, and no shard is begun before its first sample. Pickle, lossy and unknown
    extensions are refused. Owner and time of the members are constant. It does not resume;
    :func:`torchprotect.data.export` does.

    Args:
        pattern: file name with a number in it, such as ``"train-%06d.tar"``; a local path.
        maxcount: samples in a shard at most.
        maxsize: bytes in a shard at most, counted as ``webdataset`` does.
        post: called with the name of each finished shard.
        start_shard: number of the first shard.
        verbose: print the name of each shard begun.
        opener: called with the name of a finished shard; the shard is then copied to the stream it returns.
        **kw: further arguments of ``webdataset.TarWriter``.

    Samples: dicts of ``__key__`` and ``png`` (PIL image, uint8 array ``[H, W(, 3)]`` or tensor ``[1 or 3, H, W]``),
    ``npy`` (array or tensor), ``json``, ``cls`` (int), ``txt`` (str), or bytes of those formats; extensions may have a
    prefix, as in ``left.png``.
    """

    def __init__(
        self,
        pattern: str,
        maxcount: int = 100000,
        maxsize: float = 3e9,
        post: Callable[[str], Any] | None = None,
        start_shard: int = 0,
        verbose: int = 1,
        opener: Callable[[str], Any] | None = None,
        **kw: Any,
    ) -> None:
        if "%" not in pattern:
            raise InputTypeError(f"{pattern!r} has no place for the shard's number; write it as in 'train-%06d.tar'")
        if pattern.startswith("pipe:") or kw.get("encoder", True) is not True or kw.get("keep_meta"):
            raise InputTypeError("ShardWriter takes a local path, and neither encoder= nor keep_meta=")
        if pattern.endswith(("gz", "bz2", "xz")) or kw.get("compress"):
            raise InputTypeError("disguised pictures do not compress, and gzip writes the time; name the shards .tar")
        self.pattern, self.maxcount, self.maxsize = pattern, maxcount, maxsize
        self.post, self.verbose, self.opener = post, verbose, opener
        self.kw = {"user": "", "group": "", "mtime": 0, **kw, "encoder": False}
        self.shard, self.total, self.count, self.size = start_shard, 0, 0, 0
        self.fname: str | None = None
        self._stack: ExitStack | None = None
        self._tar: Any = None

    def write(self, obj: dict[str, Any]) -> None:
        """Add a sample, beginning a new shard where the last one is full.

        Raises:
            InputTypeError: an extension or value that would lose something or could run code on reading.
        """
        if "__key__" not in obj:
            raise InputTypeError("a sample needs a '__key__'")
        encoded = {name: value if name.startswith("__") else _encode(name, value) for name, value in obj.items()}
        if self._tar is None or self.count >= self.maxcount or self.size >= self.maxsize:
            self.next_stream()
        self.size += self._tar.write(encoded)
        self.count += 1
        self.total += 1

    def next_stream(self) -> None:
        """Finish the shard in hand and begin the next."""
        from webdataset import TarWriter

        self.finish()
        self.fname = self.pattern % self.shard
        if self.verbose:
            print("# writing", self.fname, self.count, f"{self.size / 1e9:.1f} GB", self.total)
        self.shard, self.count, self.size = self.shard + 1, 0, 0
        stack = ExitStack()
        if self.opener is None:
            file: Any = stack.enter_context(atomic_file(Path(self.fname)))
        else:
            file = tempfile.TemporaryFile()  # noqa: SIM115 - the stack closes it
            stack.enter_context(file)
        self._tar, self._stack = TarWriter(file, **self.kw), stack

    def finish(self) -> None:
        """Give the shard in hand its name."""
        if self._tar is None or self._stack is None:
            return
        self._tar.close()
        if self.opener is not None:
            self._tar.stream.seek(0)
            with closing(self.opener(self.fname)) as stream:  # type: ignore[arg-type]
                shutil.copyfileobj(self._tar.stream, stream)
        stack, self._tar, self._stack = self._stack, None, None
        stack.close()
        if self.post is not None:
            self.post(self.fname)  # type: ignore[arg-type]

    def close(self) -> None:
        """Finish writing."""
        self.finish()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.close()
        elif self._stack is not None:
            stack, self._tar, self._stack = self._stack, None, None
            stack.__exit__(kind, error, trace)


def _encode(name: str, value: Any) -> bytes:
    """Return the bytes of one value; what it may be follows from the extension."""
    kind = name.rpartition(".")[2].lower()
    if kind not in _ENCODERS:
        raise InputTypeError(
            f"'{name}' is refused: protected shards hold {', '.join(sorted(_ENCODERS))}, nothing lossy and no pickles"
        )
    return _ENCODERS[kind](value)


def _encode_png(value: Any) -> bytes:
    if isinstance(value, bytes):
        if not value.startswith(_PNG_SIGNATURE):
            raise InputTypeError("bytes under 'png' are no PNG file")
        return value
    if isinstance(value, PIL.Image.Image) and value.mode in ("L", "RGB"):
        value = pil_to_tensor(value)
    elif isinstance(value, np.ndarray) and value.ndim in (2, 3):
        value = torch.from_numpy(value if value.ndim == 3 else value[..., None]).movedim(-1, 0)
    if not isinstance(value, Tensor) or value.dtype != torch.uint8 or value.ndim != 3 or not has_png(value.shape[0]):
        raise InputTypeError("'png' takes 8-bit grey or RGB pictures; keep anything else as 'npy'")
    return next(encode(value.as_subclass(Tensor).cpu()[None]))


def _encode_npy(value: Any) -> bytes:
    if isinstance(value, bytes):
        try:
            np.lib.format.read_array(io.BytesIO(value), allow_pickle=False)
        except ValueError as error:
            raise InputTypeError(f"bytes under 'npy' are no plain array: {error}") from error
        return value
    buffer = io.BytesIO()
    np.save(buffer, value.cpu().numpy() if isinstance(value, Tensor) else np.asarray(value), allow_pickle=False)
    return buffer.getvalue()


def _encode_cls(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(int(value)).encode()


def _encode_json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def _encode_txt(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "png": _encode_png,
    "npy": _encode_npy,
    "cls": _encode_cls,
    "json": _encode_json,
    "txt": _encode_txt,
}
