"""Restore plain pictures from an export, with its key."""

import contextlib
import json
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import torch

from torchprotect._files import atomic_file, is_temporary, make_folder
from torchprotect._inputs import require_int
from torchprotect._lock import lock_folder
from torchprotect.data import manifest as documents
from torchprotect.data._encode import encode, extension
from torchprotect.data._label_table import write_label_table
from torchprotect.data._restored_names import RestoredNames
from torchprotect.data._run import Progress, count_images
from torchprotect.data._selection import Selection, classes_told
from torchprotect.data._stored import Stored, read_shard
from torchprotect.data._undo import Undo, may_be_inexact
from torchprotect.data.engines import LocalEngine
from torchprotect.data.finished import FinishedExport, Identities, open_finished, owner_of, require_made_with
from torchprotect.data.owner import Owner
from torchprotect.data.sources import Label
from torchprotect.data.store import Store, is_url, lies_in
from torchprotect.errors import ExportError, InputRangeError
from torchprotect.keys import Key

_MARK = ".torchprotect-restore.json"
_BATCH_BYTES = 8 << 20
_NO_NAMES = "the export has no owner's file: pictures have their ids for names, and classes their numbers"


@dataclass(frozen=True)
class RestoreResult:
    """What :func:`restore` wrote.

    Attributes:
        location: path of the folder.
        images: number of pictures in it.
        made: pictures that this run wrote; the others existed already.
        exact: pictures in it that equal the prepared original pixel by pixel; ``None`` if that is unknown because the
            export has no owner's file.
        notes: advice for the owner, in whole sentences.
    """

    location: str
    images: int
    made: int
    exact: int | None
    notes: tuple[str, ...] = ()


def restore(
    export: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    *,
    key: Key,
    only: str | Iterable[str] | None = None,
    identity: Identities = None,
    workers: int = 0,
    progress: Progress | None = None,
) -> RestoreResult:
    """Write the plain pictures of an export to a folder, under their original classes and names.

    The pictures are those that went into the disguise: the prepared ones, if the export prepares pictures. They are
    equal pixel by pixel under a block permutation and under AES. Under RMT they are too, because the key holder can
    subtract the noise, except for rounding errors if matrices are ill-conditioned or images were stored as float16.
    8-bit pictures become PNG files, others npy. If pictures have several labels, they are listed in ``labels.jsonl``.

    Calling it again finishes an interrupted restore.

    Args:
        export: folder or URL of a finished export.
        folder: folder to write to. It must be new, empty, or hold an unfinished restore of the same pictures.
        key: the key that the export was made with.
        only: which pictures to restore: an id, an original name with or without its folders, or a class (name or plain
            number); or several of these. ``None`` restores all pictures.
        identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`; the key does too.
        workers: worker processes; 0 works in this process.
        progress: called with the number of images done and the total.

    Raises:
        NotInvertibleError: the disguise cannot be undone.
        KeyKindError: the export was made with another key.
        ExportError: it is not a finished export, or the folder holds something else.
        InputRangeError: nothing has an id, name or class of ``only``, or ``only`` is empty.
        VerificationError: the export was changed.
    """
    require_int("workers", workers, at_least=0)
    opened = open_finished(export, identity=identity, key=key)
    require_made_with(opened, key)
    undo, owner = Undo.of(opened.manifest, key), owner_of(opened, key)
    selections = None if only is None else _selections(only, owner)
    wanted = None if selections is None else Selection.join(selections.values())
    target = _require_target(folder, opened)
    with _unfinished(target, opened, None if selections is None else sorted(selections)):
        task = RestoreTask(opened.store, opened.manifest, undo, owner, target, wanted)
        advance = count_images(progress, opened.manifest["images"])
        work = list(enumerate(opened.manifest["shards"]))
        done = _joined(LocalEngine().run(task, work, workers=workers, advance=advance))
        if done.labels:
            write_label_table(target, done.labels, None if owner is None else owner.class_names)
    missing = [given for given, each in (selections or {}).items() if not each.is_among(done.reasons)]
    if missing:
        raise InputRangeError(
            f"no sample of {opened.store.location} has the id or plain class number {', '.join(map(repr, missing))}"
            + ("; without an owner's file, names are not known" if owner is None else "")
        )
    notes = [_NO_NAMES] if owner is None else classes_told(selections or {}, owner)
    if owner is None and may_be_inexact(opened.manifest):
        notes.append(
            "because of its settings, the export holds pictures that cannot be restored exactly; which ones is unknown"
        )
    exact = None if owner is None else done.exact
    return RestoreResult(str(target), done.images, done.made, exact, tuple(notes))


def _selections(only: str | Iterable[str], owner: Owner | None) -> dict[str, Selection]:
    """Return what each id, name or class selects."""
    found = {each: Selection.of(each, owner) for each in ([only] if isinstance(only, str) else only)}
    if not found:
        raise InputRangeError("only names nothing to restore; leave it out to restore all pictures")
    return found


@dataclass(frozen=True)
class Restored:
    """Result of restoring one shard.

    Attributes:
        images: number of pictures.
        made: number of pictures written in this run.
        exact: number of pictures that equal their originals.
        labels: plain label of each, by its path, if pictures have several labels.
        reasons: ids and labels that selected pictures, if not all are restored.
    """

    images: int
    made: int
    exact: int
    labels: dict[str, Label]
    reasons: frozenset[str | int] = frozenset()


@dataclass(frozen=True, repr=False)
class RestoreTask:
    """Restores the pictures of one shard. Can be sent to other processes.

    Attributes:
        store: store of the export.
        manifest: manifest of the export.
        undo: makes plain images from disguised ones.
        owner: names, if they are known.
        folder: folder to write to.
        wanted: samples to restore; ``None`` for all.
    """

    store: Store
    manifest: dict[str, Any]
    undo: Undo
    owner: Owner | None
    folder: Path
    wanted: Selection | None
    uses_gradients = False
    shared = True

    @property
    def devices(self) -> set[torch.device]:
        """None: pixels are computed on the CPU."""
        return set()

    def run(self, index: int, entry: dict[str, Any], advance: Callable[[int], None]) -> Restored:
        """Restore one shard, given by its entry in the manifest."""
        names, parts = RestoredNames(self.owner), list[Restored]()
        size, classes = documents.image_size(self.manifest), self.manifest.get("classes")
        for batch in _batches(read_shard(self.store, entry, size, classes=classes)):
            chosen, reasons = self._choose(batch)
            if chosen:
                parts.append(replace(self._restore(chosen, names), reasons=reasons))
            advance(len(batch))
        return _joined(parts)

    def _choose(self, batch: list[Stored]) -> tuple[list[Stored], frozenset[str | int]]:
        """Return the samples to restore, and what selects them."""
        if self.wanted is None:
            return batch, frozenset()
        reasons = [self.wanted.reasons(sample.id, self.undo.label(sample.label)) for sample in batch]
        chosen = [sample for sample, each in zip(batch, reasons, strict=True) if each]
        return chosen, frozenset().union(*reasons)

    def _restore(self, batch: list[Stored], names: RestoredNames) -> Restored:
        ids = [sample.id for sample in batch]
        images = self.undo.images(torch.stack([sample.image for sample in batch]), ids)
        kind, made, exact, labels = extension(images), 0, 0, dict[str, Label]()
        for sample, image, content in zip(batch, images, encode(images), strict=True):
            label = self.undo.label(sample.label)
            path = names.path(sample.id, label)
            path = path.with_name(f"{path.name}.{kind}")
            made += _write(self.folder, path, content)
            exact += self.owner is not None and self.undo.is_exact(sample.id, image, self.owner.originals[sample.id])
            if isinstance(label, tuple):
                labels[str(path)] = label
        return Restored(len(batch), made, exact, labels)


def _joined(parts: Iterable[Restored]) -> Restored:
    """Return what was restored of several shards, or parts of one."""
    images, made, exact, labels, reasons = 0, 0, 0, dict[str, Label](), set[str | int]()
    for part in parts:
        images, made, exact = images + part.images, made + part.made, exact + part.exact
        labels |= part.labels
        reasons |= part.reasons
    return Restored(images, made, exact, labels, frozenset(reasons))


def _batches(samples: Iterator[Stored]) -> Iterator[list[Stored]]:
    """Yield samples of one shape together, a few megabytes at once."""
    batch, size = list[Stored](), 0
    for sample in samples:
        if batch and (size >= _BATCH_BYTES or sample.image.shape != batch[0].image.shape):
            yield batch
            batch, size = [], 0
        batch.append(sample)
        size += sample.image.nbytes
    if batch:
        yield batch


def _write(folder: Path, name: PurePosixPath, content: bytes) -> bool:
    """Write a picture unless the file already has the right content; return whether it was written.

    It is not flushed here: all files are at the end, and a resumed run compares their contents.
    """
    path = folder / name
    if _holds(path, content):
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise ExportError(f"{path.parent} leads out of {folder}, by a link: somebody else writes there; delete it")
    try:
        with atomic_file(path, flush=False) as file:
            file.write(content)
    except IsADirectoryError:
        raise ExportError(f"{path} is a folder, where a picture belongs: somebody else made it; delete it") from None
    return True


def _holds(path: Path, content: bytes) -> bool:
    """Return whether this is a regular file with this content."""
    try:
        state = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(state.st_mode) and state.st_size == len(content) and path.read_bytes() == content


def _require_target(folder: str | os.PathLike[str], opened: FinishedExport) -> Path:
    if is_url(str(folder)):
        raise ExportError(f"{folder} is a URL, but pictures are restored to a local folder")
    target = Path(folder)
    if lies_in(target, opened.store.location) or lies_in(opened.store.location, target):
        raise ExportError(f"{target} and {opened.store.location} overlap; plain pictures belong somewhere else")
    return target


@contextlib.contextmanager
def _unfinished(folder: Path, opened: FinishedExport, only: list[str] | None) -> Iterator[None]:
    """Mark a folder as that of an unfinished restore, until the block has succeeded.

    Raises:
        ExportError: the folder holds something else, or is in use.
    """
    make_folder(folder)
    lock = lock_folder(folder, f"{folder} is in use by another restore; wait for it to end")
    try:
        mark, told = folder / _MARK, {"manifest": documents.sha256_of(opened.stored, documents.MANIFEST), "only": only}
        content = json.dumps(told).encode()
        if mark.is_file() and mark.read_bytes() != content:
            raise ExportError(f"{folder} holds an unfinished restore of something else; choose another folder")
        if not mark.is_file() and any(not is_temporary(entry.name) for entry in folder.iterdir()):
            raise ExportError(f"{folder} is not empty; choose a new folder")
        for left_over in folder.rglob(".torchprotect-*.tmp"):  # of a process that was killed
            if is_temporary(left_over.name):
                left_over.unlink()
        with atomic_file(mark) as file:
            file.write(content)
        yield
        os.sync()
        mark.unlink()
    finally:
        lock.close()
