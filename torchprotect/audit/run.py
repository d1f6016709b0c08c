"""The audit: evidence in, report out."""

import datetime
import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from torchprotect._inputs import type_name
from torchprotect._version import __version__
from torchprotect.attacks import ATTACKS, STANDARD_ATTACKS, Attack, Level
from torchprotect.audit.bench import facts
from torchprotect.audit.bench.bench import Bench, usable_device
from torchprotect.audit.bench.settings import Settings
from torchprotect.audit.bench.store import Store
from torchprotect.audit.bench.trainings import gather, trainings
from torchprotect.audit.evidence.encoder import encoder_digest, require_encoder
from torchprotect.audit.evidence.evidence import Evidence
from torchprotect.audit.evidence.opening import open_evidence
from torchprotect.audit.report.destination import require_destination
from torchprotect.audit.report.finding import Finding, NotRun
from torchprotect.audit.report.page import require_page_tools
from torchprotect.audit.report.report import Report
from torchprotect.audit.scoring.findings import run_attack
from torchprotect.audit.scoring.missing import left_out
from torchprotect.audit.scoring.reasons import why_not
from torchprotect.audit.scoring.truth import truth_of
from torchprotect.errors import InputRangeError, InputTypeError, ProtectError
from torchprotect.keys import Key

Progress = Callable[[str, int, int], None]
"""Called with what is being run, the number of parts done, and the number in all."""


def run(
    out: str | os.PathLike[str] | Evidence,
    *,
    plain: Any = None,
    key: Key | None = None,
    encoder: nn.Module | None = None,
    attacks: Sequence[Attack] | None = None,
    report: str | os.PathLike[str] | None = None,
    fast: bool = False,
    limit: int = 10_000,
    device: str | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
    resume: bool = True,
) -> Report:
    """Run every attack that applies to an export, at every level of knowledge, and report what leaks.

    Half of the disguised images are attacked. The plain images of the others, with their labels, are what an attacker
    has from L1 on; pairs of them are what is known at L2. No attack gets a key.

    Args:
        out: folder of a finished export, or evidence of one's own.
        plain: the source it was made from, by name or opened.
        key: the key it was made with: it tells which plain image belongs to which disguised one.
        encoder: for images by ``OWSDScramble``, the one they went through, in eval mode: for an attacker who can load
            it too. Another encoder shows less than there is to see.
        attacks: which to run, ours from :data:`torchprotect.attacks.ATTACKS` or of one's own, each by another name;
            all but long trainings when ``None``.
        report: path of the page to write, with the same in JSON beside it, for their owner only; not inside the export.
            Only a report is written over. Nothing is written when ``None``.
        fast: a fifth of the work.
        limit: images to read at most.
        device: where attacks and networks run, ``"cpu"`` by default.
        settings: how much is done, in place of the defaults.
        progress: called before each attack and at the end.
        resume: whether to go on with an interrupted audit of the same images, encoder, settings and report.

    Raises:
        ExportError: ``out`` is no finished export; or the extra ``audit`` is missing and a page is wanted; or the page
            would lie inside the export, or take the place of a file that no audit wrote; or another audit writes it.
        VerificationError: the export is not what its manifest says.
        SourceError: ``plain`` cannot be read, or is not the source of this export.
        InputTypeError: an encoder for another disguise.
        ModelError: the encoder is in training mode, cannot take the plain images, or returns no embeddings.
    """
    if isinstance(out, Evidence) and (plain is not None or key is not None):
        raise InputTypeError("an Evidence holds its plain images and pairs; leave plain and key out")
    wanted = STANDARD_ATTACKS if attacks is None else attacks
    _require_attacks(wanted)
    path = None if report is None else Path(report)
    if path is not None:
        require_page_tools()
        require_destination(path, out.folder if isinstance(out, Evidence) else Path(out))
    started, start = datetime.datetime.now(datetime.timezone.utc), time.monotonic()
    chosen = settings or (Settings().faster() if fast else Settings())
    chosen = replace(chosen, device=device) if device is not None else chosen
    usable_device(chosen.device)
    evidence = out if isinstance(out, Evidence) else open_evidence(out, plain, key, limit=limit)
    if encoder is not None:
        require_encoder(encoder, evidence)
    bench = Bench(evidence, chosen, encoder)
    with Store(None if path is None else _parts(path), _digest(bench)) as store:
        if not resume:
            store.clear()
        done = _Audit(bench, wanted, store, progress or _show_nothing).finish(started, start)
        if path is not None:
            done.write_json(path.with_suffix(".json"))  # first: a page without it is taken for somebody else's file
            done.write_html(path)
            store.remove()
    return done


class _Audit:
    """One call of :func:`run`: parts that were finished before are taken from the store."""

    def __init__(self, bench: Bench, attacks: Sequence[Attack], store: Store, progress: Progress) -> None:
        self._bench, self._attacks, self._store, self._progress = bench, attacks, store, progress
        self._trainings = trainings(bench)
        self._truth = truth_of(bench)
        self._total, self._done = len(self._trainings) + len(attacks), 0

    def finish(self, started: datetime.datetime, start: float) -> Report:
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
        # what an attack of the user's own does may have changed since it was stored
        store = self._store if attack in ATTACKS else _NO_STORE
        part = self._part(attack.name, attack.level, partial(self._run, attack), store)
        return replace(part, title=attack.title) if isinstance(part, NotRun) else Finding.from_dict(part)

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


def _require_attacks(attacks: Sequence[Attack]) -> None:
    """Check for attacks of different names.

    Raises:
        InputTypeError: one is something else.
        InputRangeError: there are none, or two have one name.
    """
    for attack in attacks:
        if not isinstance(attack, Attack):
            raise InputTypeError(f"attacks must hold attacks.Attack objects, got {type_name(attack)}")
    names = [attack.name for attack in attacks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise InputRangeError(f"attacks must have different names, but these come twice: {', '.join(twice)}")
    if not attacks:
        raise InputRangeError("attacks must hold at least one attack; leave it out for all that apply")


def _refused(name: str, level: Level, error: ProtectError) -> NotRun:
    return NotRun(name, level, f"refused these images: {error}", "refused")


def _parts(report: Path) -> Path:
    return report.with_name(report.name + ".parts")


def _digest(bench: Bench) -> str:
    encoder = None if bench.encoder is None else _encoder_digest(bench.encoder, bench.evidence.plain)
    return hashlib.sha256(f"{__version__} {bench.evidence.digest} {bench.settings} {encoder}".encode()).hexdigest()


def _encoder_digest(encoder: nn.Module, plain: Tensor | None) -> str:
    """Show the encoder the first image without NaN, if there is one: attacks refuse the others, and say so."""
    if plain is None:
        return encoder_digest(encoder, None)
    finite = plain.flatten(1).isfinite().all(1).nonzero().flatten()[:1]
    return encoder_digest(encoder, plain[finite] if len(finite) else None)


def _show_nothing(name: str, done: int, total: int) -> None:
    """Show nothing."""
