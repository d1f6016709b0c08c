"""An audit under way: trainings and attacks one after the other, each finished part kept."""

import datetime
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any

from torchprotect.attacks import ATTACKS, Attack, Level
from torchprotect.audit.bench import facts
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.bench.store import Store
from torchprotect.audit.bench.trainings import gather, trainings
from torchprotect.audit.report.finding import Finding, NotRun
from torchprotect.audit.report.report import Report
from torchprotect.audit.scoring.findings import run_attack
from torchprotect.audit.scoring.missing import left_out
from torchprotect.audit.scoring.reasons import why_not
from torchprotect.audit.scoring.truth import truth_of
from torchprotect.errors import ProtectError

Progress = Callable[[str, int, int], None]
"""Called with what is being run, the number of parts done, and the number in all."""


class Session:
    """One audit on a bench: parts that were finished before are taken from the store.

    Args:
        bench: what is audited.
        attacks: to be run, in this order.
        store: of finished parts.
        progress: called before each part and at the end.
    """

    def __init__(self, bench: Bench, attacks: Sequence[Attack], store: Store, progress: Progress) -> None:
        self._bench, self._attacks, self._store, self._progress = bench, attacks, store, progress
        self._trainings = trainings(bench)
        self._truth = truth_of(bench)
        self._total, self._done = len(self._trainings) + len(attacks), 0

    def finish(self, started: datetime.datetime, start: float) -> Report:
        """Do what is left, and report.

        Args:
            started: the time of day, for the report.
            start: the same by the monotonic clock.
        """
        learned = {name: self._part(name, each.level, each.run, self._store) for name, each in self._trainings.items()}
        ran = [self._attack(attack) for attack in self._attacks]
        self._progress("done", self._total, self._total)
        bench = self._bench
        told = {
            "started": started.isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seconds": round(time.monotonic() - start, 1),
            "environment": facts.environment_facts(bench),
            "settings": asdict(bench.settings),
            "data": facts.data_facts(bench.evidence),
            "split": facts.split_facts(bench),
            "disguise": facts.disguise_facts(bench.evidence),
        }
        not_run = [each for each in (*learned.values(), *ran) if isinstance(each, NotRun)]
        not_run += left_out(bench.evidence.scheme, self._attacks)
        trained = {name: each for name, each in learned.items() if not isinstance(each, NotRun)}
        return Report(
            tuple(each for each in ran if isinstance(each, Finding)),
            tuple(sorted(not_run, key=lambda each: each.level.value)),
            gather(bench, trained),
            told,
        )

    def _attack(self, attack: Attack) -> Finding | NotRun:
        try:
            hindered = why_not(self._bench, attack)
        except ProtectError as error:
            hindered = _refused(attack.name, attack.level, error)
        if hindered is not None:
            self._done += 1
            return replace(hindered, title=attack.title)
        if attack in ATTACKS:
            part = self._part(attack.name, attack.level, partial(self._run, attack), self._store)
        else:
            part = self._own_part(attack)
        return replace(part, title=attack.title) if isinstance(part, NotRun) else Finding.from_dict(part)

    def _own_part(self, attack: Attack) -> dict[str, Any] | NotRun:
        """Run an attack of the user's own: it may have changed since it was last run, and may fail in any way."""
        try:
            return self._part(attack.name, attack.level, partial(self._run, attack), _NO_STORE)
        except Exception as error:  # its mistakes are told, and end no other attack
            text = str(error).partition("\n")[0]
            return NotRun(attack.name, attack.level, f"failed with {type(error).__name__}: {text}", "failed")

    def _run(self, attack: Attack) -> dict[str, Any]:
        return run_attack(self._bench, attack, self._truth).with_pictures()

    def _part(
        self, name: str, level: Level, work: Callable[[], dict[str, Any]], store: Store
    ) -> dict[str, Any] | NotRun:
        """Take a part from the store, or do it; what it refuses is told, and ends nothing else."""
        self._progress(name, self._done, self._total)
        self._done += 1
        found = store.load(name)
        if found is None:
            try:
                found = work()
            except ProtectError as error:
                return _refused(name, level, error)
            store.save(name, found)
        return found


_NO_STORE = Store(None, "")


def _refused(name: str, level: Level, error: ProtectError) -> NotRun:
    return NotRun(name, level, f"refused these images: {error}", "refused")
