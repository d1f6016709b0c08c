"""How far an export has come, from the files at its destination alone."""

import os
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass

from torchprotect._json import parse
from torchprotect.data import manifest as documents
from torchprotect.data.store import Entry, Store, open_store
from torchprotect.errors import ExportError

_QUIET_SECONDS = 60
_QUIET_SHARDS = 5
_PART = re.compile(r"(\d{1,9})/(\d{1,9})")
_MOST_PARTS = 1_000_000
_ASKED = 32  # reports that are read


@dataclass(frozen=True)
class PartStatus:
    """How far one part of an export has come.

    Attributes:
        name: as given to the export, such as ``"3/16"``.
        shards: shards that the part is to make.
        done: those of them that are finished.
        stopped: whether it has shards left, and wrote none for longer than it should have taken.
    """

    name: str
    shards: int
    done: int
    stopped: bool


@dataclass(frozen=True)
class ExportStatus:
    """How far an export has come.

    Attributes:
        location: path or URL of the export.
        finished: whether its manifest is there.
        shards: shards of the whole export.
        done: shards that are finished.
        images: images of the whole export.
        rate: shards per minute, over the reports that are there; ``None`` with fewer than two.
        seconds_left: time left at that rate, or ``None``.
        missing: indices of the shards that are not finished.
        parts: all parts, in order, if a part has reported a shard; empty where none has.
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


def status(export: str | os.PathLike[str]) -> ExportStatus:
    """Return how far an export has come, on all machines together. Needs no key, so nothing is verified.

    Raises:
        ExportError: there is no export.
    """
    store = open_store(export)
    entries = store.entries()
    if documents.PLAN not in entries:
        raise ExportError(f"{store.location} holds no export: it has no {documents.PLAN}")
    plan = documents.read_document(store, documents.PLAN, documents.PLAN_FORMAT)
    images, size = plan.get("images"), plan.get("shard_size")
    if not isinstance(images, int) or not isinstance(size, int) or min(images, size) < 1:
        raise ExportError(f"{store.path_of(documents.PLAN)} is malformed: images and shard_size must be positive")
    shards = -(-images // size)
    finished = documents.MANIFEST in entries
    missing = () if finished else tuple(i for i in range(shards) if documents.report_name(i) not in entries)
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
        () if finished else _parts(store, entries, shards),
    )


def _rate(reports: Iterable[Entry]) -> float | None:
    """Return reports per minute, between the first and the last of them."""
    times = sorted(entry.modified for entry in reports if entry.modified is not None)
    if len(times) < 2 or times[-1] == times[0]:
        return None
    return 60 * (len(times) - 1) / (times[-1] - times[0])


def _parts(store: Store, entries: dict[str, Entry], shards: int) -> tuple[PartStatus, ...]:
    """Group the shards that have reports by part. Some reports tell how many parts there are; part i has every n-th."""
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
    """Take a part for stopped if it is silent for several times as long as it took for a shard."""
    times = sorted(times)
    per_shard = (times[-1] - started) / len(times) if times else 0.0
    silent = time.time() - (times[-1] if times else started)
    stopped = len(times) < shards and silent > max(_QUIET_SECONDS, _QUIET_SHARDS * per_shard)
    return PartStatus(name, shards, len(times), stopped)
