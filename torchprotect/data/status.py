"""Compute the progress of an export from the files at its destination alone."""

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torchprotect._json import parse
from torchprotect.data import manifest as documents
from torchprotect.data.sealed_manifest import generation_of
from torchprotect.data.store import SUFFIX, Entry, SealedStore, Store, open_store
from torchprotect.envelope.data_key import DataKey
from torchprotect.errors import ExportError, KeyKindError
from torchprotect.keys import Key

_QUIET_SECONDS = 60
_QUIET_SHARDS = 5
_PART = re.compile(r"(\d{1,9})/(\d{1,9})")
_MOST_PARTS = 1_000_000
_MOST_SHARDS = 10_000_000
_ASKED = 32  # number of reports to read


@dataclass(frozen=True)
class PartStatus:
    """Progress of one part of an export.

    Attributes:
        name: as given to the export, such as ``"3/16"``.
        shards: number of shards in the part.
        done: number of its finished shards.
        stopped: whether it has unfinished shards, and has written none for longer than a shard should take.
    """

    name: str
    shards: int
    done: int
    stopped: bool


@dataclass(frozen=True)
class ExportStatus:
    """Progress of an export.

    Attributes:
        location: path or URL of the export.
        finished: whether its manifest exists.
        shards: number of shards in the whole export.
        done: number of finished shards.
        images: number of images in the whole export.
        rate: shards per minute, computed from the reports; ``None`` with fewer than two reports, or if there was none
            for so long that the export seems to have stopped.
        seconds_left: remaining time at that rate, or ``None``.
        missing: indices of unfinished shards; for a finished export, of shards that were deleted since.
        parts: all parts in order, if a part has reported a shard; otherwise empty.
    """

    location: str
    finished: bool
    shards: int
    done: int
    images: int
    rate: float | None
    seconds_left: float | None
    missing: tuple[int, ...]
    parts: tuple[PartStatus, ...]


def status(export: str | os.PathLike[str], key: Key | None = None) -> ExportStatus:
    """Return the progress of an export, over all machines. Nothing is verified.

    Args:
        export: its folder or URL.
        key: the key that it is made with. Needed only for the parts of a sealed export, whose reports are sealed.

    Raises:
        ExportError: there is no export.
        KeyKindError: it is made with another key.
    """
    store = open_store(export)
    entries = {_opened_name(name): entry for name, entry in store.entries().items()}
    if documents.PLAN not in entries:
        raise ExportError(
            f"{store.location} holds no export: it has no {documents.PLAN}{documents.hint_at_splits(store)}. An export "
            "that was just started may still be reading its source"
        )
    plan = documents.read_document(store, documents.PLAN, documents.PLAN_FORMAT)
    images, shards = _extent(plan, store)
    finished = documents.MANIFEST in entries
    name_of = documents.shard_name if finished else documents.report_name
    missing = tuple(index for index in range(shards) if name_of(index) not in entries)
    rate = None if finished else _rate(entry for name, entry in entries.items() if documents.is_report_name(name))
    return ExportStatus(
        store.location,
        finished,
        shards,
        shards - len(missing),
        images,
        rate,
        None if rate is None else len(missing) / rate * 60,
        missing,
        () if finished else _parts(_opened(store, plan, shards, key), entries, shards),
    )


def _opened_name(name: str) -> str:
    """Return the name that a sealed shard or report has in an open export; others stay as they are."""
    opened = name.removesuffix(SUFFIX)
    return opened if documents.is_shard_name(opened) or documents.is_report_name(opened) else name


def _extent(plan: dict[str, Any], store: Store) -> tuple[int, int]:
    """Return the number of images and of shards."""
    images, size = plan.get("images"), plan.get("shard_size")
    if type(images) is int and type(size) is int and min(images, size) > 0 and images // size <= _MOST_SHARDS:
        return images, -(-images // size)
    raise ExportError(f"{store.path_of(documents.PLAN)} is malformed: it has no valid images and shard_size")


def _rate(reports: Iterable[Entry]) -> float | None:
    """Return reports per minute, between the first and the last of them."""
    times = sorted(entry.modified for entry in reports if entry.modified is not None)
    if len(times) < 2 or times[-1] == times[0]:
        return None
    per_shard = (times[-1] - times[0]) / (len(times) - 1)
    return None if _is_silent(times[-1], per_shard) else 60 / per_shard


def _opened(store: Store, plan: dict[str, Any], shards: int, key: Key | None) -> Store | None:
    """Return the store with its reports opened; ``None`` where they are sealed and there is no key."""
    generation = generation_of(plan, store.path_of(documents.PLAN))
    if generation is None or key is None:
        return store if generation is None else None
    if plan.get("key") != key.fingerprint:
        raise KeyKindError(
            f"{store.location} is made with key {str(plan.get('key'))[:12]}, the key given is {key.fingerprint[:12]}"
        )
    digest = documents.digest(plan)
    return SealedStore(store, DataKey.of_export(key, digest, generation), digest, shards)


def _parts(store: Store | None, entries: dict[str, Entry], shards: int) -> tuple[PartStatus, ...]:
    """Group the shards that have reports by part.

    Some reports state how many parts there are; part i has every n-th shard.
    """
    if store is None:
        return ()
    written = {i: entries[name] for i in range(shards) if (name := documents.report_name(i)) in entries}
    asked = list(written)[:: max(1, len(written) // _ASKED)]
    counts = {_parts_in(report) for report in store.read_all(map(documents.report_name, asked)).values()} - {None}
    started = entries[documents.PLAN].modified or 0.0
    return tuple(
        _part_status(
            f"{index}/{parts}",
            len(range(index, shards, parts)),
            [written[shard].modified or 0.0 for shard in range(index, shards, parts) if shard in written],
            started,
        )
        for parts in sorted(count for count in counts if count is not None)
        for index in range(min(parts, shards))
    )


def _parts_in(report: bytes) -> int | None:
    """Return the number of parts from a report, if its shard was made by a part."""
    try:
        told = _PART.fullmatch(parse(report)["part"])
    except (ValueError, TypeError, KeyError):
        return None
    if told is None:
        return None
    index, parts = int(told[1]), int(told[2])
    return parts if index < parts <= _MOST_PARTS else None


def _part_status(name: str, shards: int, times: list[float], started: float) -> PartStatus:
    last = max(times, default=started)
    per_shard = (last - started) / len(times) if times else 0.0
    return PartStatus(name, shards, len(times), len(times) < shards and _is_silent(last, per_shard))


def _is_silent(last: float, per_shard: float) -> bool:
    """Return whether there was no report for several times as long as a shard takes, and for a minute."""
    return time.time() - last > max(_QUIET_SECONDS, _QUIET_SHARDS * per_shard)
