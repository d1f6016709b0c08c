"""Measured numbers, each kept as soon as it is known: an interrupted run goes on, and stale numbers are not used.

A cell is one call of a measuring function. Its numbers stand in a line of a file, with what decided them (settings,
sizes, a digest of the code) and where they come from (date, machine, versions, command, seconds).
"""

import contextlib
import hashlib
import inspect
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any

import filelock
import torch

import torchprotect
from common.digest import code_digest
from torchprotect.training import fast_precision

Measure = Callable[..., dict[str, float]]
UNKNOWN = float("nan")
_ENTRIES = ("kind", "numbers", "seconds", "code", "date", "machine", "versions", "command")


class Unmeasured(dict[str, float]):
    """The numbers of a cell that is not measured yet: all of them are NaN."""

    def __missing__(self, name: str) -> float:
        return UNKNOWN


@dataclass(frozen=True)
class Cell:
    """One call of a measuring function.

    Attributes:
        measure: called with the bench and the settings; returns numbers by name.
        settings: JSON values and dataclasses of them.
    """

    measure: Measure
    settings: dict[str, Any]

    @property
    def kind(self) -> str:
        """Name of the measuring function."""
        return self.measure.__name__

    @property
    def code(self) -> str:
        """Digest of the measuring function's module and of those it imports."""
        return code_digest(Path(inspect.getfile(self.measure)))

    @property
    def plain_settings(self) -> dict[str, Any]:
        """The settings as JSON values."""
        return {name: asdict(value) if is_dataclass(value) else value for name, value in self.settings.items()}

    def __str__(self) -> str:
        shown = (_short(value) for value in self.plain_settings.values())
        return f"{self.kind} {' '.join(shown)}"


class Cells:
    """The numbers of a reproduction at one scale.

    Args:
        path: of the file; made with the first number.
        sizes: what decides the numbers of every cell beside its settings, such as the number of images.
        locks: folder for lock files: several processes may share the work.
        command: what was called, for the record.
    """

    def __init__(self, path: Path, sizes: Mapping[str, object], locks: Path, command: str) -> None:
        self.path, self._sizes, self._locks = path, json.loads(json.dumps(dict(sizes))), locks
        self._origin = {"machine": machine(), "versions": versions(), "command": command}
        self._lines: dict[str, dict[str, Any]] = {}
        self._wanted: dict[str, Cell] = {}
        self._asked: dict[str, Cell] = {}
        self._read_up_to = 0
        self.refresh()

    # asking

    def get(self, measure: Measure, **settings: Any) -> Mapping[str, float]:
        """Return the numbers of a cell, or NaN for each of them while it is not measured."""
        cell = Cell(measure, settings)
        name = self._name(cell)
        self._wanted.setdefault(name, cell)
        self._asked[name] = cell
        return self._lines[name]["numbers"] if name in self._lines else Unmeasured()

    def take_asked(self) -> list[dict[str, Any]]:
        """Return the lines of the measured cells that were asked for since the last call."""
        asked, self._asked = self._asked, {}
        return [self._lines[name] for name in asked if name in self._lines]

    def missing(self, fold: int | None = None) -> list[Cell]:
        """Return the cells that were asked for and are not measured, in the order of the tables.

        Args:
            fold: the only repetition to look at, with the cells that belong to none; ``None``: all.
        """
        found = (cell for name, cell in self._wanted.items() if name not in self._lines)
        return [cell for cell in found if fold in (None, cell.settings.get("fold", fold))]

    # measuring

    def plan(self, left: Sequence[Cell]) -> str:
        """Say how much is measured, and how long the cells that are left will take."""
        done = sum(name in self._lines for name in self._wanted)
        return f"{done} of {len(self._wanted)} cells are measured; {len(left)} to do, {self._time_for(left)}"

    def measure(self, left: Sequence[Cell], bench: object, minutes: float = math.inf) -> None:
        """Measure cells, one after the other; none is begun after so many minutes."""
        end = time.monotonic() + 60 * minutes
        for number, cell in enumerate(left):
            self.refresh()
            if self._name(cell) in self._lines:
                continue  # by another process, meanwhile
            if time.monotonic() >= end:
                print(f"time is up; {self.plan(left[number:])}", flush=True)
                return
            with _try_lock(self._locks / f"{_hash(self._name(cell))}.lock") as mine:
                if mine:
                    print(f"{cell}; {len(left) - number} to do, {self._time_for(left[number:])}", flush=True)
                    self._measure(cell, bench)
                else:
                    print(f"{cell}: another process is measuring it", flush=True)
        self.refresh()

    def _measure(self, cell: Cell, bench: object) -> None:
        start = time.monotonic()
        numbers = cell.measure(bench, **cell.settings)
        seconds = time.monotonic() - start
        line = {**self._identity(cell), "numbers": numbers, "seconds": round(seconds, 1)}
        self._append({**line, "date": time.strftime("%Y-%m-%d"), **self._origin})
        self.refresh()

    def _time_for(self, cells: Iterable[Cell]) -> str:
        """Estimate how long cells take, from measured cells of the same kind on any machine."""
        cells, by_kind = list(cells), {}
        for line in self._lines.values():
            by_kind.setdefault(line["kind"], []).append(line["seconds"])
        known = [sum(by_kind[cell.kind]) / len(by_kind[cell.kind]) for cell in cells if cell.kind in by_kind]
        unknown = f", and {len(cells) - len(known)} of unknown length" if len(known) < len(cells) else ""
        return f"about {_duration(sum(known))} in one process{unknown}"

    # the file

    def refresh(self) -> None:
        """Read what was added to the file; a line that was cut off while it was written is left out."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            file.seek(self._read_up_to)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read_up_to += len(line)
                self._parse(line)

    def _append(self, line: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self._locks / "cells.lock"), self.path.open("ab+") as file:
            if file.tell():
                file.seek(-1, os.SEEK_END)
                cut_off = file.read(1) != b"\n"  # by a process that was killed while it wrote
                file.write(b"\n" * cut_off)
            file.write(json.dumps(line).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _parse(self, line: bytes) -> None:
        try:
            found = json.loads(line)
            name = _identify(found["kind"], found["settings"], found["sizes"], found["code"])
            self._lines[name] = {each: found[each] for each in _ENTRIES}
        except (ValueError, KeyError, TypeError):
            return  # cut off when its process was killed; the cell is measured again

    def _identity(self, cell: Cell) -> dict[str, Any]:
        return {"kind": cell.kind, "settings": cell.plain_settings, "sizes": self._sizes, "code": cell.code}

    def _name(self, cell: Cell) -> str:
        return _identify(**self._identity(cell))


def machine() -> str:
    """Name the processor, its instructions, the precision that networks train in, and the number of threads."""
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    device = f" and {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    precision = fast_precision(torch.device("cuda" if torch.cuda.is_available() else "cpu")) or torch.float32
    threads = f"{torch.get_num_threads()} thread" + "s" * (torch.get_num_threads() > 1)
    name = str(precision).removeprefix("torch.")
    return f"{model}{device}, {torch.backends.cpu.get_cpu_capability()}, {name}, {threads}"


def versions() -> str:
    """Name the versions that decide numbers."""
    return f"torch {torch.__version__}, torchprotect {torchprotect.__version__}"


@contextlib.contextmanager
def _try_lock(path: Path) -> Iterator[bool]:
    """Hold a lock file, or say that another process holds it."""
    lock = filelock.FileLock(path, blocking=False)
    try:
        lock.acquire()
    except filelock.Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()


def _identify(kind: str, settings: object, sizes: object, code: str) -> str:
    return json.dumps([kind, settings, sizes, code], sort_keys=True)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:16]


def _short(value: object) -> str:
    return " ".join(map(str, value.values())) if isinstance(value, dict) else str(value)


def _duration(seconds: float) -> str:
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min"
