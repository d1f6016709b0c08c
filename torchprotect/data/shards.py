"""Write shards by hand, without leaving partial ones."""

import contextlib
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable
from contextlib import ExitStack, closing
from multiprocessing.util import Finalize
from pathlib import Path
from typing import Any

from torchprotect._files import atomic_file
from torchprotect.data._members import encode_sample
from torchprotect.errors import InputTypeError


class ShardWriter:
    """Write WebDataset shards like ``webdataset.ShardWriter``, but never leave a partial shard behind.

    A shard is written under a temporary name and renamed when it is complete. An exception inside ``with`` discards the
    current shard, and no shard is begun before its first sample. A writer that is never closed finishes its shard when
    it is garbage-collected or the interpreter exits, with a ``ResourceWarning``, whether or not there was an error.
    Existing shards are not overwritten. Pickle, lossy and unknown extensions are refused. Owner and time of the members
    are constant. It does not resume; :func:`torchprotect.data.export` does.

    Args:
        pattern: local path with a placeholder for the shard's index, such as ``"train-%06d.tar"``. Processes that write
            at the same time, such as the ranks of a distributed run, need different patterns.
        maxcount: largest number of samples in a shard.
        maxsize: largest number of bytes in a shard, counted as ``webdataset`` does.
        post: called with the name of each finished shard.
        start_shard: number of the first shard.
        verbose: print the name of each shard when it is begun.
        opener: called with the name of a finished shard; the shard is then copied to the stream it returns.
        **kw: further arguments of ``webdataset.TarWriter``; with ``encoder=False`` every value must be bytes.

    Samples: dicts of ``__key__`` and ``png`` (PIL image, uint8 array ``[H, W(, 3)]`` or tensor ``[1 or 3, H, W]``),
    ``npy`` (array or tensor of numbers), ``json`` (what ``json.dumps`` takes, or text that is JSON already), ``cls`` (a
    whole number), ``txt`` (str), or bytes in those formats. Extensions may have a prefix, as in ``left.png``. Other
    names that begin with ``__`` are metadata, which is not written. A key has no dot after its last slash, and occurs
    once in a shard.

    Example::

        with data.ShardWriter("train-%06d.tar", maxcount=1000) as writer:
            writer.write({"__key__": "000000", "png": image, "cls": 3})
    """

    def __init__(
        self,
        pattern: str | os.PathLike[str],
        maxcount: int = 100000,
        maxsize: float = 3e9,
        post: Callable[[str], Any] | None = None,
        start_shard: int = 0,
        verbose: int = 1,
        opener: Callable[[str], Any] | None = None,
        **kw: Any,
    ) -> None:
        pattern = os.fspath(pattern)
        _require_pattern(pattern, start_shard, opener)
        if not (kw.get("encoder", True) is None or isinstance(kw.get("encoder", True), bool)) or kw.get("keep_meta"):
            raise InputTypeError("ShardWriter takes encoder=True or False, and no keep_meta=")
        if pattern.endswith(("gz", "bz2", "xz")) or kw.get("compress"):
            raise InputTypeError("disguised pictures do not compress, and gzip writes the time; name the shards .tar")
        self.pattern, self.maxcount, self.maxsize = pattern, maxcount, maxsize
        self.post, self.verbose, self.opener = post, verbose, opener
        self.encoded = bool(kw.get("encoder", True))
        self.kw = {"user": "", "group": "", "mtime": 0, **kw, "encoder": False}
        self.shard, self.total, self.count, self.size = start_shard, 0, 0, 0
        self.fname: str | None = None
        self._open: _OpenShard | None = None
        self._finalizer: Any = None

    def write(self, obj: dict[str, Any]) -> None:
        """Add a sample, and begin a new shard if the last one is full.

        Raises:
            InputTypeError: a key, extension or value would be lost or changed, or could run code when it is read.
            FileExistsError: the next shard exists.
        """
        sample = encode_sample(obj, self.encoded, self.kw.get("format"))
        full = self.count >= self.maxcount or self.size >= self.maxsize
        if self._open is not None and not full and sample["__key__"] in self._open.keys:
            raise InputTypeError(f"'__key__' {sample['__key__']!r} is in this shard already; keys must differ")
        if self._open is None or full:
            self.next_stream()
        assert self._open is not None  # noqa: S101 - next_stream has begun one; tells the type checker
        try:
            self.size += self._open.write(sample)
        except BaseException as error:
            self._take_shard().discard(error)  # it may hold a partial sample
            raise
        self.count += 1
        self.total += 1

    def next_stream(self) -> None:
        """Finish the current shard and begin the next.

        Raises:
            FileExistsError: the next shard exists.
        """
        self.finish()
        name = self.pattern % self.shard
        if self.opener is None and Path(name).exists():
            raise FileExistsError(
                f"{name} exists; shards are never overwritten. Choose another pattern or remove it; ranks of a "
                "distributed run need a pattern each, such as f'train-{rank}-%06d.tar'"
            )
        self.fname = name
        if self.verbose:
            print("# writing", name, self.count, f"{self.size / 1e9:.1f} GB", self.total)
        self._open = _OpenShard(name, self.opener, self.post, self.kw)
        # runs at the end of forked worker processes too, unlike weakref.finalize
        self._finalizer = Finalize(self, _finish_unclosed, (self._open, os.getpid()), exitpriority=0)
        self.shard, self.count, self.size = self.shard + 1, 0, 0

    def finish(self) -> None:
        """Finish the current shard: give it its final name."""
        if self._open is not None:
            self._take_shard().finish()

    def close(self) -> None:
        """Finish the current shard and stop writing."""
        self.finish()

    def __enter__(self) -> "ShardWriter":
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if kind is None:
            self.close()
        elif self._open is not None:
            self._take_shard().discard(error)

    def _take_shard(self) -> "_OpenShard":
        assert self._open is not None  # noqa: S101 - asked by the callers; tells the type checker
        shard, self._open = self._open, None
        self._finalizer.cancel()
        return shard


class _OpenShard:
    """The current shard. It holds no reference to its writer, so that it can outlive a writer that was never closed."""

    def __init__(
        self, name: str, opener: Callable[[str], Any] | None, post: Callable[[str], Any] | None, options: dict[str, Any]
    ) -> None:
        from webdataset import TarWriter

        self.name, self.keys = name, set[str]()
        self._opener, self._post = opener, post
        with ExitStack() as stack:
            if opener is None:
                self._file: Any = stack.enter_context(atomic_file(Path(name), overwrite=False))
            else:
                self._file = stack.enter_context(tempfile.TemporaryFile())
            self._tar = TarWriter(self._file, **options)
            self._stack = stack.pop_all()

    def write(self, sample: dict[str, Any]) -> int:
        """Add a sample and return its size as ``webdataset`` counts it."""
        self.keys.add(sample["__key__"])
        size: int = self._tar.write(sample)
        return size

    def finish(self) -> None:
        """Give the file its name, or pass its content to the opener."""
        with self._stack:  # an error discards the file
            self._tar.close()
            if self._opener is not None:
                self._file.seek(0)
                with closing(self._opener(self.name)) as stream:
                    shutil.copyfileobj(self._file, stream)
        if self._post is not None:
            self._post(self.name)

    def discard(self, error: BaseException) -> None:
        """Remove the file, because of an error."""
        with contextlib.suppress(OSError):  # a full disk may be that error
            self._tar.close()
        self._stack.__exit__(type(error), error, error.__traceback__)


def _finish_unclosed(shard: _OpenShard, process: int) -> None:
    if os.getpid() != process:  # a forked process has a copy of the writer, but the shard is its parent's
        return
    shard.finish()
    warnings.warn(f"the ShardWriter of {shard.name} was never closed; the shard was finished", ResourceWarning, 2)


def _require_pattern(pattern: str, start_shard: int, opener: Callable[[str], Any] | None) -> None:
    if not isinstance(pattern, str):
        raise InputTypeError(f"the pattern must be text or a Path, got {type(pattern).__name__}")
    if pattern.startswith("pipe:") or ("://" in pattern and opener is None):
        raise InputTypeError(f"ShardWriter takes a local path, not {pattern!r}; to write elsewhere give opener=")
    try:
        distinct = pattern % start_shard != pattern % (start_shard + 1)
    except (TypeError, ValueError):
        distinct = False
    if not distinct:
        raise InputTypeError(f"{pattern!r} has no placeholder for the shard's index; write it as in 'train-%06d.tar'")
