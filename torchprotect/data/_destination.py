"""Where an export is written: its documents and shards, its state, and the steps from one state to the next."""

import contextlib
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

from torchprotect._files import is_temporary
from torchprotect.data import manifest as documents
from torchprotect.data._report import Reports, ShardReport, distance_member, overall_distance
from torchprotect.data._same_plan import require_same_plan
from torchprotect.data._stored import read_shard
from torchprotect.data.store import Entry, Store, Upload
from torchprotect.errors import ExportError

_LARGEST_REPORT = 1 << 24  # bytes; it lists the images left out


class FinishedMeanwhileError(ExportError):
    """Somebody else has finished the export."""


class State(Enum):
    """How far an export has come."""

    EMPTY = "nothing"
    UNFINISHED = "a plan"
    FINISHED = "a plan and a manifest"


@dataclass(frozen=True)
class Destination:
    """A folder or bucket, and the plan that the export in it is made by. Can be pickled.

    Many processes, on many machines, may write to one at once, without locks: the plan is created once and binds all of
    them, equal plans make equal shards, and the manifest is created when all shards are there. Every write is atomic,
    so a process may be killed between any two of them.

    1. ``start`` creates the plan, or checks that the one in the store is the same.
    2. ``write_shard`` writes a shard, ``record`` the report of it.
    3. ``finish`` creates the manifest and deletes the reports.

    Attributes:
        store: where the files are.
        plan: unsigned.
        signing: key of all HMACs.
        part: name of the part of the export that this process makes, such as ``"3/16"``, if it does not make all.
        repairs: whether the export was finished before, and what is damaged is made again.
    """

    store: Store
    plan: dict[str, Any]
    signing: bytes
    part: str | None = None
    repairs: bool = False

    @cached_property
    def _reports(self) -> Reports:
        return Reports(self.store, self.signing, documents.digest(self.plan))

    @property
    def state(self) -> State:
        """How far the export has come.

        Raises:
            ExportError: the store holds files of something else.
        """
        return self._state_of(self.store.entries())

    def _state_of(self, entries: dict[str, Entry]) -> State:
        kept = sorted(name for name in entries if not is_temporary(name))
        foreign = [name for name in kept if not _is_own(name)]
        if foreign:
            raise ExportError(
                f"{self.store.location} holds other files, such as {foreign[0]}; choose another place for the export"
            )
        if kept and documents.PLAN not in kept:
            raise ExportError(
                f"{self.store.location} holds {kept[0]} but no plan: if it is what is left of an export, delete all of "
                "it; else choose another place"
            )
        if documents.MANIFEST in kept:
            return State.FINISHED
        return State.UNFINISHED if kept else State.EMPTY

    def require_same_plan(self, *, resume: bool = True) -> State:
        """Check that the store is empty, or that the export in it has the same plan; return its state.

        Args:
            resume: whether there may be an export.

        Raises:
            ExportError: there is one and it must not be resumed, or its plan is another one or was changed.
        """
        state = self.state
        if state is State.EMPTY:
            return state
        if not resume:
            raise ExportError(f"{self.store.location} holds an export already; choose another place, or resume it")
        require_same_plan(self.store, self.plan, self.signing)
        return state

    def start(self) -> None:
        """Create the plan. Whoever comes second joins in, if the plan is the same.

        Raises:
            ExportError: somebody else was faster, with another plan.
        """
        try:
            signed = documents.signed(self.plan, self.signing)
            self.store.create(documents.PLAN, documents.dump(signed))
        except FileExistsError:
            require_same_plan(self.store, self.plan, self.signing)

    def delete_temporaries(self) -> None:
        """Delete what processes that were killed while writing have left in a local folder."""
        if self.store.local:
            self.store.delete([name for name in self.store.entries() if is_temporary(name)])

    @contextlib.contextmanager
    def write_shard(self, index: int) -> Iterator[Upload]:
        """Open the file of a shard for writing; it is there when the block has succeeded.

        Raises:
            FinishedMeanwhileError: a manifest was created since this run began, so nothing may be changed any more.
        """
        with self.store.write(documents.shard_name(index)) as upload:
            yield upload
            if not self.repairs and self._is_finished():
                raise FinishedMeanwhileError(
                    f"{self.store.location} was finished by somebody else while this export ran; nothing was changed"
                )

    def record(self, report: ShardReport) -> None:
        """Write the report of a shard that was just written.

        A manifest that was created meanwhile has deleted all reports, so this one would stay.
        """
        self._reports.write(report, self.part)
        if self.part is not None and self._is_finished():
            self.store.delete([documents.report_name(report.index)])

    def _is_finished(self) -> bool:
        try:
            self.store.stat(documents.MANIFEST)
        except FileNotFoundError:
            return False
        return True

    def reports(self, wanted: Iterable[int]) -> dict[int, ShardReport]:
        """Return the reports of all wanted shards that were once finished, by index.

        Raises:
            ExportError: the manifest was changed, or belongs to another plan.
        """
        entries = self.store.entries()
        names = sorted(map(documents.report_name, wanted))
        found = self._reports.read(name for name in names if name in entries and entries[name].size <= _LARGEST_REPORT)
        return self._reports_of_manifest(entries) | found if self._state_of(entries) is State.FINISHED else found

    def _reports_of_manifest(self, entries: dict[str, Entry]) -> dict[int, ShardReport]:
        """Return what the manifest tells of the shards, with the tags of those that were not written after it."""
        manifest = documents.read_manifest(self.store)
        if not documents.is_signed(manifest, self.signing) or manifest["plan"] != documents.digest(self.plan):
            path = self.store.path_of(documents.MANIFEST)
            raise ExportError(f"{path} was changed, or belongs to another plan; choose another place for the export")
        finished = entries[documents.MANIFEST].modified
        reports = [ShardReport.from_entry(index, entry) for index, entry in enumerate(manifest["shards"])]
        return {
            report.index: replace(report, tag=entry.tag) if _is_no_newer(entry, finished) else report
            for report in reports
            if (entry := entries.get(report.name)) is not None
        }

    def intact(self, reports: dict[int, ShardReport], new: Container[int] = ()) -> dict[int, ShardReport]:
        """Return those reports whose shards still have the bytes that they tell of.

        A shard is read only where its tag does not answer that: in a local folder, where there are no tags, unless this
        run has written it.

        Args:
            reports: by index.
            new: indices of shards that this run has written.
        """
        entries = self.store.entries()
        return {i: report for i, report in sorted(reports.items()) if self._is_intact(report, entries, i in new)}

    def _is_intact(self, report: ShardReport, entries: dict[str, Entry], is_new: bool) -> bool:
        entry = entries.get(report.name)
        if entry is None or entry.size != report.size:
            return False
        if entry.tag == report.tag and (entry.tag is not None or is_new):
            return True
        try:
            return documents.sha256_of(self.store, report.name) == report.sha256
        except FileNotFoundError:
            return False

    def planned_count(self, index: int) -> int:
        """Return how many samples a shard has if none is left out."""
        size: int = self.plan["shard_size"]
        return min(size, self.plan["images"] - index * size)

    def finish(self, reports: Iterable[ShardReport]) -> dict[str, Any]:
        """Create the manifest, unless the same one is there already, and delete the reports.

        Args:
            reports: of all shards.

        Returns:
            The manifest.

        Raises:
            ExportError: there is a manifest, and a shard without gaps is not as it says.
        """
        ordered = sorted(reports, key=lambda report: report.index)
        if self.state is State.FINISHED:
            manifest = self._renew_manifest(ordered)
        else:
            manifest = self._make_manifest(ordered)
            try:
                self.store.create(documents.MANIFEST, documents.dump(manifest))
            except FileExistsError:
                manifest = self._renew_manifest(ordered)
        self.store.delete([name for name in self.store.entries() if documents.is_report_name(name)])
        self.delete_temporaries()
        return manifest

    def _renew_manifest(self, ordered: list[ShardReport]) -> dict[str, Any]:
        """Return the manifest that is there if it lists the same shards; replace it where gaps were filled."""
        before = documents.read_manifest(self.store)
        entries = [report.entry for report in ordered]
        if before["shards"] == entries:
            return before
        for index, (old, new) in enumerate(zip(before["shards"], entries, strict=True)):
            if old != new and old["count"] == self.planned_count(index):
                raise ExportError(
                    f"{old['name']} in {self.store.location} was damaged and could not be made again as it was: the "
                    "source has changed; choose another place for the export"
                )
        manifest = self._make_manifest(ordered)
        with self.store.write(documents.MANIFEST) as upload:
            upload.file.write(documents.dump(manifest))
        return manifest

    def _make_manifest(self, ordered: list[ShardReport]) -> dict[str, Any]:
        """Return the signed manifest of a finished export."""
        manifest = {
            "format": documents.MANIFEST_FORMAT,
            "version": documents.VERSION,
            "security_claim": "obfuscation",
            "plan": documents.digest(self.plan),
            "key": self.plan["key"],
            "transform": self.plan["transform"],
            "plain": self.plan["plain"],
            "images": sum(report.count for report in ordered),
            "labels": len(set().union(*(self._labels_of(report) for report in ordered))),
            "shards": [report.entry for report in ordered],
            **distance_member(*overall_distance(ordered)),
        }
        return documents.signed(manifest, self.signing)

    def _labels_of(self, report: ShardReport) -> list[int]:
        """Return the labels in a shard; they are read from it again where the report is from a manifest."""
        if not report.is_from_manifest:
            return report.labels
        samples = read_shard(self.store, report.entry, None)
        return sorted({sample.label for sample in samples if sample.label is not None})


def _is_own(name: str) -> bool:
    return (
        name in (documents.PLAN, documents.MANIFEST) or documents.is_shard_name(name) or documents.is_report_name(name)
    )


def _is_no_newer(entry: Entry, finished: float | None) -> bool:
    """Return whether an object was written before the manifest, or in the same second, by the clock of the store.

    A manifest lists no tags. It is written last, so a shard of that age is the one that it lists.
    """
    return entry.modified is not None and finished is not None and entry.modified <= finished
