"""The destination of an export: its documents and shards, its state, and the steps from one state to the next."""

import contextlib
import hashlib
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any, NamedTuple

from torchprotect._files import is_temporary
from torchprotect.data import manifest as documents
from torchprotect.data._labels import numbers_in
from torchprotect.data._manifests import Manifests
from torchprotect.data._report import Reports, ShardReport, distance_member, overall_distance
from torchprotect.data._same_plan import require_same_plan
from torchprotect.data._sign import sign
from torchprotect.data._stored import read_shard
from torchprotect.data.owner import OWNER
from torchprotect.data.store import SUFFIX, Entry, SealedStore, Store, Upload
from torchprotect.envelope import SigningKey
from torchprotect.envelope.data_key import DataKey
from torchprotect.envelope.recipients import is_envelope
from torchprotect.errors import ExportError, StoreError, VerificationError

MakeOwner = Callable[[list[ShardReport], Store], bytes]
"""Takes the reports of all shards, and the shards; returns the content of the owner's file."""

_LARGEST_REPORT = 1 << 24  # bytes; it lists the images left out


class FinishedMeanwhileError(ExportError):
    """Another process has finished the export."""


class State(Enum):
    """Progress of an export."""

    EMPTY = "nothing"
    UNFINISHED = "a plan"
    FINISHED = "a plan and a manifest"


@dataclass(frozen=True)
class Envelope:
    """What a finished export gets in addition to its manifest.

    Attributes:
        files: age files with the data key, by name; none for an open export.
        signing_key: signs the manifest.
    """

    files: Mapping[str, bytes] = field(default_factory=dict)
    signing_key: SigningKey | None = None


class Finish(NamedTuple):
    """Result of finishing an export.

    Attributes:
        digest: SHA-256 of the manifest file, in hex.
        note: advice for the owner, or ``None``.
    """

    digest: str
    note: str | None


@dataclass(frozen=True)
class Destination:
    """A folder or bucket, and the plan of the export in it. Can be pickled.

    Many processes, on many machines, may write to it at the same time without locks: the plan is created once and binds
    all of them, equal plans make equal shards, and the manifest is created when all shards exist. Every write is
    atomic, so a process may be killed between any two writes.

    1. ``start`` creates the plan, or checks that the one in the store is the same.
    2. ``write_shard`` writes a shard, ``record`` its report.
    3. ``finish`` creates the manifest and deletes the reports.

    Attributes:
        store: where the files are.
        plan: the plan, unsigned.
        signing: key of all HMACs.
        part: name of the part of the export that this process makes, such as ``"3/16"``, if it does not make all.
        repairs: whether the export was finished before, and damaged files are made again.
        data_key: seals shards, reports and manifest; ``None`` leaves the export open.
    """

    store: Store
    plan: dict[str, Any]
    signing: bytes
    part: str | None = None
    repairs: bool = False
    data_key: DataKey | None = None

    @cached_property
    def _sealed(self) -> SealedStore | None:
        if self.data_key is None:
            return None
        shards = -(-self.plan["images"] // self.plan["shard_size"])
        return SealedStore(self.store, self.data_key, documents.digest(self.plan), shards)

    @property
    def files(self) -> Store:
        """The shards and reports, with the names and contents that they have in an open export."""
        return self._sealed or self.store

    @property
    def _manifests(self) -> Manifests:
        return Manifests(self.store, self._sealed, self.plan, self.signing)

    @cached_property
    def _reports(self) -> Reports:
        return Reports(self.files, self.signing, documents.digest(self.plan))

    @property
    def state(self) -> State:
        """The progress of the export.

        Raises:
            ExportError: the store holds files of something else.
        """
        return self._state_of(self.store.entries())

    def _state_of(self, entries: dict[str, Entry]) -> State:
        kept = sorted(name for name in entries if not is_temporary(name))
        foreign = [name for name in kept if not self._is_own(name)]
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

    def _is_own(self, name: str) -> bool:
        if name in (documents.PLAN, documents.MANIFEST, documents.SIGNATURE):
            return True
        if self.data_key is None:
            return name == OWNER or _is_shard_or_report(name)
        opened = name.removesuffix(SUFFIX)
        is_document = opened in (documents.PLAN, documents.MANIFEST, OWNER)
        return is_envelope(name) or (opened != name and (is_document or _is_shard_or_report(opened)))

    def require_same_plan(self, *, resume: bool = True) -> State:
        """Check that the store is empty, or that the export in it has the same plan; return its state.

        Args:
            resume: whether there may be an export.

        Raises:
            ExportError: there is one and it must not be resumed, or its plan is another one or was changed.
        """
        entries = self.store.entries()
        if documents.PLAN in entries:
            if not resume:
                raise ExportError(f"{self.store.location} holds an export already; choose another place, or resume it")
            require_same_plan(self.store, self.plan, self.signing)
        return self._state_of(entries)

    def start(self) -> None:
        """Create the plan. A process that comes second joins in, if its plan is the same.

        Raises:
            ExportError: another process was faster, with another plan.
        """
        try:
            signed = documents.signed(self.plan, self.signing)
            self.store.create(documents.PLAN, documents.dump(signed))
        except FileExistsError:
            require_same_plan(self.store, self.plan, self.signing)

    def delete_temporaries(self) -> None:
        """Delete the files that killed processes have left in a local folder."""
        if self.store.local:
            self.store.delete([name for name in self.store.entries() if is_temporary(name)])

    @contextlib.contextmanager
    def write_shard(self, index: int) -> Iterator[Upload]:
        """Open the file of a shard for writing; the file appears when the block has succeeded.

        Raises:
            FinishedMeanwhileError: a manifest was created since this run began, so nothing may be changed any more.
        """
        with self.files.write(documents.shard_name(index)) as upload:
            yield upload
            if not self.repairs and self._is_finished():
                raise FinishedMeanwhileError(
                    f"{self.store.location} was finished by somebody else while this export ran; nothing was changed"
                )

    def record(self, report: ShardReport) -> None:
        """Write the report of a shard that was just written.

        If a manifest was created meanwhile, all reports were deleted with it, and this one is deleted too.
        """
        self._reports.write(report, self.part)
        if self.part is not None and self._is_finished():
            self.files.delete([documents.report_name(report.index)])

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
        stored = self.store.entries()
        entries = stored if self._sealed is None else self._sealed.opened(stored)
        names = sorted(map(documents.report_name, wanted))
        found = self._reports.read(name for name in names if name in entries and entries[name].size <= _LARGEST_REPORT)
        if self._state_of(stored) is not State.FINISHED:
            return found
        return self._reports_of_manifest(entries, stored[documents.MANIFEST].modified) | found

    def _reports_of_manifest(self, entries: dict[str, Entry], finished: float | None) -> dict[int, ShardReport]:
        """Return the reports that the manifest implies, with the tags of shards that were not written after it."""
        return {
            report.index: replace(report, tag=entry.tag) if _is_no_newer(entry, finished) else report
            for report in self._manifests.read()
            if (entry := entries.get(report.name)) is not None
        }

    def intact(self, reports: dict[int, ShardReport], new: Container[int] = ()) -> dict[int, ShardReport]:
        """Return the reports whose shards still have the reported bytes.

        A shard is read only if its tag cannot answer that: in a local folder, which has no tags, unless this run has
        written the shard.

        Args:
            reports: reports by index.
            new: indices of shards that this run has written.
        """
        entries = self.files.entries()
        return {i: report for i, report in sorted(reports.items()) if self._is_intact(report, entries, i in new)}

    def _is_intact(self, report: ShardReport, entries: dict[str, Entry], is_new: bool) -> bool:
        entry = entries.get(report.name)
        if entry is None or entry.size != report.size or (self.data_key is not None and report.sealed is None):
            return False
        if entry.tag == report.tag and (entry.tag is not None or is_new):
            return True
        is_open = self.data_key is None
        try:
            found = documents.sha256_of(self.store, report.name if is_open else report.name + SUFFIX)
        except FileNotFoundError:
            return False
        return found == (report.sha256 if is_open else report.sealed)

    def planned_count(self, index: int) -> int:
        """Return the number of samples in a shard if none is skipped."""
        size: int = self.plan["shard_size"]
        return min(size, self.plan["images"] - index * size)

    def finish(
        self,
        reports: Iterable[ShardReport],
        envelope: Envelope,
        *,
        owner: MakeOwner | None = None,
        manifest: dict[str, Any] | None = None,
    ) -> Finish:
        """Create the manifest unless the same one exists, delete the reports, and sign.

        Args:
            reports: reports of all shards.
            envelope: what a finished export gets in addition.
            owner: makes the owner's file, if the plan has one.
            manifest: manifest of the open export, if there is one.

        Raises:
            ExportError: a manifest exists, and a shard without gaps differs from it; or there is another signature.
        """
        ordered = sorted(reports, key=lambda report: report.index)
        kept = self._create_envelopes(envelope.files)
        written = self._write_manifest(ordered, manifest, owner)
        self.files.delete([name for name in self.files.entries() if documents.is_report_name(name)])
        self.delete_temporaries()
        if envelope.signing_key is not None:
            sign(self.store, written, envelope.signing_key)
        return Finish(hashlib.sha256(written).hexdigest(), _note_existing_envelopes(kept))

    def _create_envelopes(self, files: Mapping[str, bytes]) -> list[str]:
        """Create age files, and return the names of those that exist already.

        If any exists, none is added: the recipients may have been replaced since.
        """
        there = sorted(filter(is_envelope, self.store.entries()))
        if files and there:
            return there
        kept = []
        for name, content in files.items():
            try:
                self.store.create(name, content)
            except FileExistsError:
                kept.append(name)
        return kept

    def _write_manifest(
        self, ordered: list[ShardReport], manifest: dict[str, Any] | None, owner: MakeOwner | None
    ) -> bytes:
        if self.state is not State.FINISHED:
            owned = None if owner is None else owner(ordered, self.files)
            with contextlib.suppress(FileExistsError):  # another process was faster
                return self._manifests.create(manifest or self._make_manifest(ordered, owned), ordered, owned)
        return self._renew_manifest(ordered, owner)

    def _require_fillable(self, reports: Iterable[ShardReport]) -> bool:
        """Check that shards which differ from those of a finished export only fill its gaps.

        Args:
            reports: reports of shards that would replace them.

        Returns:
            Whether any of them differs.

        Raises:
            ExportError: a shard without gaps differs from the manifest.
        """
        listed, differs = self._manifests.listed(), False
        for report in reports:
            old, new = listed[report.index], report.entry if self.data_key is None else report.sealed_entry
            differs = differs or old != new
            if old != new and old["count"] == self.planned_count(report.index):
                raise ExportError(
                    f"{old['name']} in {self.store.location} was damaged and could not be made again as it was: the "
                    "source has changed; choose another place for the export"
                )
        return differs

    def _renew_manifest(self, ordered: list[ShardReport], owner: MakeOwner | None) -> bytes:
        """Leave the manifest unchanged if it lists the same shards; replace it if gaps were filled."""
        differs, manifest = self._require_fillable(ordered), self._manifests.open_manifest()
        owned = None if manifest is None else self._listed_owner(manifest)
        if manifest is None or differs or (owner is not None and owned is None):
            owned = None if owner is None else owner(ordered, self.files)
            manifest = self._make_manifest(ordered, owned)
        return self._manifests.update(manifest, ordered, owned)

    def owner_content(self) -> bytes | None:
        """Return the owner's file of a finished export; ``None`` if there is none, or it is damaged."""
        manifest = self._manifests.open_manifest()
        return None if manifest is None else self._listed_owner(manifest)

    def _listed_owner(self, manifest: dict[str, Any]) -> bytes | None:
        """Return the owner's file that a manifest lists; ``None`` if there is none, or it is damaged."""
        entry = manifest.get("owner")
        if entry is None:
            return None
        with contextlib.suppress(FileNotFoundError, StoreError, VerificationError):
            content = self.files.read(OWNER, entry["size"])
            if hashlib.sha256(content).hexdigest() == entry["sha256"]:
                return content
        return None

    def _make_manifest(self, ordered: list[ShardReport], owned: bytes | None) -> dict[str, Any]:
        """Return the signed manifest of a finished export."""
        members = {
            **({} if owned is None else {"owner": _owner_entry(owned)}),
            "images": sum(report.count for report in ordered),
            "labels": len(set().union(*(self._labels_of(report) for report in ordered))),
            **distance_member(*overall_distance(ordered)),
        }
        return self._manifests.make(members, ordered)

    def _labels_of(self, report: ShardReport) -> list[int]:
        """Return the labels in a shard; if its report comes from a manifest, they are read from the shard again."""
        if not report.is_from_manifest:
            return report.labels
        samples = read_shard(self.files, report.entry, None, classes=self.plan.get("classes"))
        return sorted({number for sample in samples for number in numbers_in(sample.label)})


def _owner_entry(content: bytes) -> dict[str, Any]:
    return {"name": OWNER, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _is_shard_or_report(name: str) -> bool:
    return documents.is_shard_name(name) or documents.is_report_name(name)


def _is_no_newer(entry: Entry, finished: float | None) -> bool:
    """Return whether an object was written before the manifest, or in the same second, by the clock of the store.

    A manifest lists no tags. It is written last, so a shard of that age is the one that it lists.
    """
    return entry.modified is not None and finished is not None and entry.modified <= finished


def _note_existing_envelopes(envelopes: list[str]) -> str | None:
    """Note which envelopes existed already: their recipients cannot be compared, because age does not name them."""
    if not envelopes:
        return None
    return (
        f"{' and '.join(envelopes)} of an earlier run stays as it is, for the recipients it has; those given now were "
        "not added, unless they are the same: `torchprotect recipients` changes them"
    )
