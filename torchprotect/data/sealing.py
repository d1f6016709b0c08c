"""Make sealed copies of finished exports, and open copies of sealed ones."""

import contextlib
import hashlib
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torchprotect._files import HashedFile, atomic_file, make_folder, sync_folder, temporary_name_of
from torchprotect._inputs import require_int
from torchprotect._lock import lock_folder
from torchprotect.data import manifest as documents
from torchprotect.data._destination import Destination, Envelope, State
from torchprotect.data._report import ShardReport
from torchprotect.data._run import ExportResult, Progress, count_images
from torchprotect.data.finished import (
    FinishedExport,
    Identities,
    open_finished,
    read_owner_file,
    read_sealed_plan,
    require_made_with,
)
from torchprotect.data.sealed_manifest import (
    LARGEST_GENERATION,
    SAME_DATA_KEY,
    envelope_member,
    generation_of,
    open_plan,
)
from torchprotect.data.store import Store, is_url, lies_in, open_store
from torchprotect.envelope import Recipients, Signer, SigningKey
from torchprotect.envelope.data_key import DataKey
from torchprotect.errors import EnvelopeError, ExportError, ProtectError, StoreError, VerificationError
from torchprotect.keys import Key

_CHUNK = 1 << 20


def open_export(
    export: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    identity: Identities,
    signer: Signer | str | os.PathLike[str] | None = None,
    expect: str | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Decrypt a sealed export to a folder, byte for byte as an export without recipients would be.

    The folder appears only after everything was compared with the sealed manifest, and not at all if anything is wrong.

    Args:
        export: folder or URL of the sealed export.
        out: folder; must be new or empty.
        identity: as for :func:`torchprotect.data.read`.
        signer: as for :func:`torchprotect.data.read`.
        expect: as for :func:`torchprotect.data.read`.
        progress: called with the number of images done and the total.

    Raises:
        ExportError: ``export`` is not a finished sealed export, or ``out`` holds something.
        EnvelopeError: no identity opens it.
        VerificationError: a part of it was changed.
        StoreError: it cannot be read, or ``out`` cannot be written.
    """
    opened = open_finished(export, identity=identity, signer=signer, expect=expect)
    if opened.public is None:
        raise EnvelopeError(f"{opened.store.location} is not sealed, so there is nothing to open: copy it as it is")
    folder = _require_empty(out)
    if lies_in(folder, opened.store.location):
        raise ExportError(f"{folder} lies inside {opened.store.location}; choose another folder")
    shards = opened.manifest["shards"]
    with _new_folder(folder) as temporary:
        advance = count_images(progress, opened.manifest["images"])
        for entry in shards:
            with atomic_file(temporary / entry["name"]) as file:
                _copy(opened.store, entry, HashedFile(file))
            advance(entry["count"])
        for name, content in opened.documents.items():
            with atomic_file(temporary / name) as file:
                file.write(content)
    digest = hashlib.sha256(opened.documents[documents.MANIFEST]).hexdigest()
    size = sum(entry["size"] for entry in shards)
    return ExportResult(str(folder), opened.manifest["images"], len(shards), len(shards), size, (), digest=digest)


def seal_export(
    export: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    key: Key,
    recipients: Recipients | Sequence[str],
    generation: int | None = None,
    signing_key: SigningKey | str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> ExportResult:
    """Encrypt a finished export for recipients, in another place; its source is not needed.

    Sealing an open export gives, apart from the envelope, what an export with recipients gives. Sealing a sealed export
    encrypts it again under the data key of the next generation, which recipients of the old one do not have. Calling it
    again finishes an interrupted seal.

    Args:
        export: folder or URL of the export.
        out: folder or URL to write to; must be new, empty, or hold the same export.
        key: the key that the export was made with.
        recipients: who may open it; see :func:`torchprotect.data.export`.
        generation: number of the data key. If not given: 1 for an open export, and one more than before for a sealed
            one. Give a higher number if a generation was used before, in any place.
        signing_key: signs the sealed export; the key or the path of its file.
        progress: called with the number of images done and the total.

    Raises:
        ExportError: ``export`` is not a finished export, or ``out`` holds something else.
        EnvelopeError: a recipient is malformed, or a sealed export was made with another key.
        KeyKindError: an open export was made with another key.
        VerificationError: a part of the export was changed.
    """
    if generation is not None:
        require_int("generation", generation, at_least=1, at_most=LARGEST_GENERATION)
    signer = None if signing_key is None else SigningKey.of(signing_key)
    to = recipients if isinstance(recipients, Recipients) else Recipients.of(recipients)
    opened, store = open_finished(export, key=key), open_store(out)
    if lies_in(store.location, opened.store.location) or lies_in(opened.store.location, store.location):
        raise ExportError(
            f"{store.location} and {opened.store.location} overlap: one lies inside the other; choose another place"
        )
    plan = _sealed_plan(opened, key, generation)
    data_key = DataKey.of_export(key, documents.digest(plan), plan["envelope"]["generation"])
    destination = Destination(store, plan, key.subkey("manifest"), data_key=data_key)
    store.prepare()
    with store.lock(f"{store.location} is in use by another export; wait for it to end", shared=False):
        reports = _seal_shards(opened, destination, progress)
        envelope = Envelope(to.wrap(data_key), signer)
        owned = read_owner_file(opened)
        owner = None if owned is None else lambda reports, files: owned
        done = destination.finish(reports.values(), envelope, owner=owner, manifest=opened.manifest)
    first = SAME_DATA_KEY if opened.public is None and generation is None else None
    return ExportResult(
        store.location,
        opened.manifest["images"],
        len(reports),
        len(reports),
        sum(report.size for report in reports.values()),
        (),
        notes=tuple(note for note in (done.note, first) if note is not None),
        digest=done.digest,
    )


def _sealed_plan(opened: FinishedExport, key: Key, generation: int | None) -> dict[str, Any]:
    """Return the unsigned plan of a sealed copy; check that the key has signed the export."""
    location, plan = opened.store.location, require_made_with(opened, key)
    before = 0
    if opened.public is not None:
        before = generation_of(read_sealed_plan(opened.stored), opened.stored.path_of(documents.PLAN)) or 0
    if generation is not None and generation <= before:
        raise ExportError(
            f"{location} is of generation {before}: the new export needs a higher one, or whoever has the data key "
            f"of generation {generation} could open it"
        )
    return open_plan(plan) | {"envelope": envelope_member(generation or before + 1)}


def _seal_shards(opened: FinishedExport, destination: Destination, progress: Progress | None) -> dict[int, ShardReport]:
    """Seal all shards that do not exist yet, and return the reports of all."""
    known = [ShardReport.from_entry(index, entry) for index, entry in enumerate(opened.manifest["shards"])]
    state = destination.require_same_plan()
    destination = replace(destination, repairs=state is State.FINISHED)
    there = {} if state is State.EMPTY else destination.reports(range(len(known)))
    if state is State.FINISHED:
        _require_same_shards(destination, there, known)
    reports = destination.intact(there) if there else {}
    if state is State.EMPTY:
        destination.start()
    advance = count_images(progress, opened.manifest["images"])
    for shard in known:
        if shard.index not in reports or reports[shard.index].sha256 != shard.sha256:
            with destination.write_shard(shard.index) as upload:
                _copy(opened.store, shard.entry, upload.file)
            reports[shard.index] = replace(shard, sealed=upload.sealed, tag=upload.tag)
            destination.record(reports[shard.index])
        advance(shard.count)
    return reports


def _require_same_shards(destination: Destination, there: dict[int, ShardReport], known: list[ShardReport]) -> None:
    """Check, before anything is written, that a finished sealed copy is of this export; gaps may be filled."""
    for shard in known:
        old = there.get(shard.index)
        if old is not None and old.sha256 != shard.sha256 and old.count == destination.planned_count(shard.index):
            raise ExportError(
                f"{destination.store.location} holds a finished export with other pictures; nothing was changed. "
                "Choose another place"
            )


def _copy(store: Store, entry: dict[str, Any], sink: HashedFile) -> None:
    """Copy a shard, and compare it with the manifest."""
    path = store.path_of(entry["name"])
    try:
        with store.open(entry["name"]) as file:
            while block := file.read(_CHUNK):
                sink.write(block)
    except FileNotFoundError:
        raise VerificationError(f"{path} is missing") from None
    if sink.sha256 != entry["sha256"]:
        raise VerificationError(f"{path} is not the shard in the manifest: it was replaced")


def _require_empty(out: str | os.PathLike[str]) -> Path:
    """Return the path of a folder that is new or empty."""
    if is_url(str(out)):
        raise ExportError(f"{out} is a URL, but an open copy is written to a local folder")
    folder = Path(out).resolve()
    if os.path.lexists(folder) and not (folder.is_dir() and not any(folder.iterdir())):
        raise ExportError(f"{out} is not an empty folder; choose another one")
    if folder == Path.cwd():
        raise ExportError(
            f"{out} is the current folder, which cannot be replaced while programs are in it; choose another"
        )
    if os.path.ismount(folder):
        raise ExportError(f"{out} is a mount point, which cannot be written as a whole; choose a folder in it")
    return folder


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """Make a folder that gets its name when the block has succeeded, and is deleted otherwise.

    Nobody else can read it before. An empty folder in its place keeps its mode.
    """
    hidden = folder.with_name(temporary_name_of(folder.name))
    try:
        make_folder(folder.parent)
        with contextlib.suppress(FileExistsError):
            hidden.mkdir(mode=0o700)
        _require_own(hidden)
        lock = lock_folder(hidden, f"{folder} is being written by another process; wait for it to end")
        try:
            for left_over in hidden.iterdir():  # of a process that was killed
                left_over.unlink()
            mode = _mode_for(folder, hidden)
            yield hidden
            hidden.chmod(mode)
            hidden.rename(folder)
        except BaseException:
            shutil.rmtree(hidden, ignore_errors=True)
            raise
        finally:
            lock.close()
        sync_folder(folder.parent)
    except OSError as error:
        if isinstance(error, ProtectError):
            raise
        raise StoreError(f"cannot write to {folder}: {error.strerror or error}; nothing was left there") from error


def _require_own(hidden: Path) -> None:
    """Check that nobody else has put their own folder or a link there, to read or delete its content."""
    state = os.lstat(hidden)
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.geteuid() or state.st_mode & 0o077:
        raise StoreError(f"{hidden} is in the way, and not a folder that only you can read; delete it")


def _mode_for(folder: Path, hidden: Path) -> int:
    """Return the mode that a folder has, or would have if it were created now."""
    if folder.exists():
        return folder.stat().st_mode & 0o7777
    probe = hidden / "mode"
    probe.mkdir()
    mode = probe.stat().st_mode & 0o7777
    probe.rmdir()
    return mode
