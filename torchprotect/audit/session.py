"""A running audit: trainings and attacks one after the other, each finished part kept."""

import datetime
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from torchprotect.attacks import ATTACKS, Attack, Level
from torchprotect.audit.bench import facts
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.bench.fisher import NAME as FISHER
from torchprotect.audit.bench.fisher import fisher_part
from torchprotect.audit.bench.store import Store
from torchprotect.audit.bench.trainings import gather, trainings
from torchprotect.audit.report.finding import Finding, NotRun
from torchprotect.audit.report.report import Report
from torchprotect.audit.scoring.findings import WrongResultError, run_attack
from torchprotect.audit.scoring.missing import left_out
from torchprotect.audit.scoring.reasons import why_not
from torchprotect.audit.scoring.truth import truth_of
from torchprotect.errors import ProtectError

Progress = Callable[[str, int, int], None]
"""Called with the name of the current part, the number of parts done, and the total."""

Made = TypeVar("Made")
_PACKAGE = Path(__file__).parents[1]
_MESSAGE = 200  # characters of an error message to report


class Session:
    """One audit on a bench; parts that were finished before are taken from the store.

    Args:
        bench: bench of the audit.
        attacks: attacks to run, in this order.
        store: store of finished parts.
        progress: called before each part and at the end.
    """

    def __init__(self, bench: Bench, attacks: Sequence[Attack], store: Store, progress: Progress) -> None:
        self._bench, self._attacks, self._store, self._progress = bench, attacks, store, progress
        self._trainings = trainings(bench)
        self._truth = truth_of(bench)
        self._fisher = fisher_part(bench)
        self._total, self._done = len(self._trainings) + callable(self._fisher) + len(attacks), 0

    def finish(self, started: datetime.datetime, start: float) -> Report:
        """Run the remaining parts, and report.

        Args:
            started: start time of day, for the report.
            start: start time by the monotonic clock.
        """
        learned = {
            name: self._run_part(name, each.level, partial(self._load_or_compute, name, each.run))
            for name, each in self._trainings.items()
        }
        bounded = self._measure_scrambler()
        ran = [self._run_part(each.name, each.level, partial(self._attack, each), each.title) for each in self._attacks]
        self._progress("done", self._total, self._total)
        bench = self._bench
        told = {
            "started": started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seconds": round(time.monotonic() - start, 1),
            "environment": facts.environment_facts(bench),
            "settings": asdict(bench.settings),
            "data": facts.data_facts(bench.evidence),
            "split": facts.split_facts(bench),
            "disguise": {
                **facts.disguise_facts(bench.evidence),
                "fisher": None if isinstance(bounded, NotRun) else bounded,
            },
        }
        not_run = [each for each in (*learned.values(), bounded, *ran) if isinstance(each, NotRun)]
        not_run += left_out(bench.evidence.scheme, self._attacks)
        trained = {name: each for name, each in learned.items() if not isinstance(each, NotRun)}
        return Report(
            tuple(each for each in ran if isinstance(each, Finding)),
            tuple(sorted(not_run, key=lambda each: each.level)),
            gather(bench, trained),
            told,
        )

    def _measure_scrambler(self) -> dict[str, Any] | NotRun | None:
        """Measure the scrambler, if there is one and the owner has it."""
        part = self._fisher
        if not callable(part):
            return part
        return self._run_part(FISHER, Level.PARTIAL_KEY, partial(self._load_or_compute, FISHER, part))

    def _run_part(self, name: str, level: Level, work: Callable[[], Made], title: str = "") -> Made | NotRun:
        """Run one part; if it is refused, note the reason and continue with the others."""
        self._progress(name, self._done, self._total)
        self._done += 1
        try:
            return work()
        except ProtectError as error:
            return NotRun(name, level, f"refused these images: {error}", "refused", title)

    def _load_or_compute(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Take a part from the store, or compute it and keep it there."""
        found = self._store.load(name)
        if found is None:
            found = work()
            self._store.save(name, found)
        return found

    def _attack(self, attack: Attack) -> Finding | NotRun:
        if attack not in ATTACKS:
            return self._own_attack(attack)
        return why_not(self._bench, attack) or Finding.from_dict(
            self._load_or_compute(attack.name, lambda: run_attack(self._bench, attack, self._truth).with_pictures())
        )

    def _own_attack(self, attack: Attack) -> Finding | NotRun:
        """Run a user-supplied attack, which may fail in any way, and may have changed since an interrupted audit."""
        try:
            return why_not(self._bench, attack) or run_attack(self._bench, attack, self._truth)
        except WrongResultError as error:
            return NotRun.of(attack, f"returned what cannot be scored: {error}", "failed")
        except ProtectError:
            raise
        except Exception as error:
            return NotRun.of(attack, f"failed with {_describe_error(error)}", "failed")


def _describe_error(error: Exception) -> str:
    """Return class and message of an error on one line, and the line of the file where it occurred."""
    message = " ".join(str(error).split())
    frames = traceback.extract_tb(error.__traceback__)
    entered = next((frame.filename for frame in frames if not Path(frame.filename).is_relative_to(_PACKAGE)), None)
    if entered is None:
        return f"{type(error).__name__}: {_shortened(message)}"
    line = [frame.lineno for frame in frames if frame.filename == entered][-1]
    return f"{type(error).__name__} at line {line} of {Path(entered).name}: {_shortened(message)}"


def _shortened(text: str) -> str:
    return text if len(text) <= _MESSAGE else f"{text[:_MESSAGE]} ..."
