"""The folder of one export: its documents and shards, its state, and the steps from one state to the next."""

from collections.abc import Iterable
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import Any

from torchprotect._files import is_temporary, make_folder
from torchprotect._lock import lock_folder
from torchprotect.data import manifest as documents
from torchprotect.data._report import Journal, ShardReport, distance_member, overall_distance
from torchprotect.data._stored import read_shard
from torchprotect.errors import ExportError


class State(Enum):
    """How far the export in a folder has come.

    A plan alone counts as nothing: an export that failed before its first shard left it, and it binds nobody.
    """

    EMPTY = "nothing, or a plan alone"
    UNFINISHED = "a plan with a journal or shards"
    FINISHED = "a manifest"


class ExportFolder:
    """The locked folder of an export and the plan that it must be made by.

    ``start_or_resume`` turns an empty folder into an unfinished export, or checks that the export in it has the same
    plan. ``record`` adds a finished shard to the journal. ``finish`` writes the manifest and removes the journal. A
    finished export may be resumed too: shards that are damaged, or have gaps, are made again. Every write is atomic, so
    a process may be killed between any two of them.

    Args:
        path: of the folder; made unless it exists.
        plan: unsigned.
        signing: key of all HMACs.

    Attributes:
        path: of the folder.
        lock: held until the folder is left as a context; to be shared with worker processes.

    Raises:
        ExportError: another export is using the folder.
        FileExistsError: the name belongs to something else.
    """

    def __init__(self, path: Path, plan: dict[str, Any], signing: bytes) -> None:
        make_folder(path)
        self.path = path
        self.lock = lock_folder(path, f"{path} is in use by another export; wait for it to end")
        self._plan, self._signing = plan, signing
        self._journal = Journal(path, signing, documents.digest(plan))

    def __enter__(self) -> "ExportFolder":
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.close()

    @property
    def state(self) -> State:
        """How far the export has come.

        Raises:
            ExportError: the folder holds files of something else.
        """
        kept = [path.name for path in sorted(self.path.iterdir()) if not is_temporary(path.name)]
        known = (documents.PLAN, documents.JOURNAL, documents.MANIFEST)
        foreign = [name for name in kept if name not in known and not documents.is_shard_name(name)]
        if foreign:
            raise ExportError(f"{self.path} holds other files, such as {foreign[0]}; choose a new folder")
        if kept and documents.PLAN not in kept:
            raise ExportError(f"{self.path} holds {kept[0]} but no plan; choose a new folder")
        if documents.MANIFEST in kept:
            return State.FINISHED
        return State.UNFINISHED if len(kept) > 1 else State.EMPTY

    def shard(self, index: int) -> Path:
        """Return the path of a shard."""
        return self.path / documents.shard_name(index)

    def start_or_resume(self, resume: bool) -> None:
        """Write the plan into an empty folder, or check that the export in it has the same plan.

        Args:
            resume: whether there may be an export in the folder.

        Raises:
            ExportError: there is one and it must not be resumed, or its plan is another one or was changed.
        """
        state, path = self.state, self.path / documents.PLAN
        if path.exists() and not resume:
            raise ExportError(f"{self.path} holds an export already; choose a new folder, or resume it")
        found = documents.read_document(path, documents.PLAN_FORMAT) if path.exists() else {}
        if state is not State.EMPTY:
            self._require_same_plan(found)
        for leftover in self.path.iterdir():
            if is_temporary(leftover.name):
                leftover.unlink()
        if state is State.EMPTY:
            documents.write_document(path, documents.signed(self._plan, self._signing))

    def _require_same_plan(self, found: dict[str, Any]) -> None:
        different = sorted(name for name in self._plan if found.get(name) != self._plan[name])
        if "key" in different:  # digests of source and transform are keyed too, so they differ with it
            different = ["key"]
        if different:
            shown = [f"{name} was {_short(found.get(name))}, is {_short(self._plan[name])}" for name in different]
            raise ExportError(
                f"{self.path} holds an export by another plan: {'; '.join(shown)}; nothing was changed. "
                "Repeat the call with the settings of that export, or choose a new folder"
            )
        if not documents.is_signed(found, self._signing):
            raise ExportError(f"{self.path / documents.PLAN} was changed: its HMAC is wrong; choose a new folder")

    def reports(self) -> dict[int, ShardReport]:
        """Return the reports of all shards that were once finished, by index, from journal and manifest.

        Raises:
            ExportError: the manifest was changed, or belongs to another plan.
        """
        journal = self._journal.read()
        return self._reports_of_manifest() | journal if self.state is State.FINISHED else journal

    def _reports_of_manifest(self) -> dict[int, ShardReport]:
        manifest = documents.read_manifest(self.path)
        if not documents.is_signed(manifest, self._signing) or manifest["plan"] != documents.digest(self._plan):
            raise ExportError(
                f"{self.path / documents.MANIFEST} was changed, or belongs to another plan; choose a new folder"
            )
        return {index: ShardReport.from_entry(index, entry) for index, entry in enumerate(manifest["shards"])}

    def is_intact(self, report: ShardReport) -> bool:
        """Return whether a shard still has the bytes that its report tells of."""
        path = self.shard(report.index)
        return path.is_file() and path.stat().st_size == report.size and documents.file_sha256(path) == report.sha256

    def planned_count(self, index: int) -> int:
        """Return how many samples a shard has if none is left out."""
        size: int = self._plan["shard_size"]
        return min(size, self._plan["images"] - index * size)

    def record(self, report: ShardReport) -> None:
        """Add the report of a shard that was just finished to the journal."""
        self._journal.append(report)

    def finish(self, reports: Iterable[ShardReport]) -> dict[str, Any]:
        """Write the manifest, unless the same one is there already, and remove the journal.

        Args:
            reports: of all shards.

        Returns:
            The manifest.

        Raises:
            ExportError: there is a manifest, and a shard without gaps is not as it says.
        """
        ordered = sorted(reports, key=lambda report: report.index)
        before = documents.read_manifest(self.path) if self.state is State.FINISHED else None
        entries = [report.entry for report in ordered]
        if before is not None and before["shards"] == entries:
            manifest = before
        else:
            self._require_only_gaps_changed([] if before is None else before["shards"], entries)
            manifest = documents.signed(_make_manifest(self._plan, map(self._with_labels, ordered)), self._signing)
            documents.write_document(self.path / documents.MANIFEST, manifest)
        self._journal.remove()
        return manifest

    def _require_only_gaps_changed(self, before: list[Any], after: list[Any]) -> None:
        for index, (old, new) in enumerate(zip(before, after, strict=False)):  # empty where there was no manifest
            if old != new and old["count"] == self.planned_count(index):
                raise ExportError(
                    f"{old['name']} in {self.path} was damaged and could not be made again as it was: the source "
                    "has changed; choose a new folder"
                )

    def _with_labels(self, report: ShardReport) -> ShardReport:
        """Read the labels of a shard again, which a manifest does not list."""
        if not report.is_from_manifest:
            return report
        samples = read_shard(self.shard(report.index), report.entry, None)
        return replace(report, labels=sorted({sample.label for sample in samples if sample.label is not None}))


def _make_manifest(plan: dict[str, Any], reports: Iterable[ShardReport]) -> dict[str, Any]:
    """Return the unsigned manifest of a finished export."""
    ordered = list(reports)
    return {
        "format": documents.MANIFEST_FORMAT,
        "version": documents.VERSION,
        "security_claim": "obfuscation",
        "plan": documents.digest(plan),
        "key": plan["key"],
        "transform": plan["transform"],
        "plain": plan["plain"],
        "images": sum(report.count for report in ordered),
        "labels": len(set().union(*(report.labels for report in ordered))),
        "shards": [report.entry for report in ordered],
        **distance_member(*overall_distance(ordered)),
    }


def _short(value: Any) -> str:
    """Return a field of a plan for a message: digests by their first digits."""
    return value[:12] if isinstance(value, str) else str(value)
