"""One run of an export in its folder: what is finished stays, the rest is made, the manifest comes last."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchprotect._lock import SharedDescriptor
from torchprotect.data import manifest as documents
from torchprotect.data._job import DisguiseJob
from torchprotect.data._preflight import check_shapes
from torchprotect.data._stored import read_shard
from torchprotect.data.engines import local
from torchprotect.data.manifest import Journal, ShardReport
from torchprotect.errors import ExportError, ProtectError
from torchprotect.keys import Key

Progress = Callable[[int, int], None]
"""Called with the number of images done and the number in all."""


@dataclass(frozen=True)
class ExportResult:
    """What an export wrote.

    Attributes:
        folder: where it is.
        images: images in it.
        shards: shards in it.
        size: bytes of all shards.
        skipped: names of images left out in this run or the ones it resumed, since they could not be read or did not
            fit. Shards with such gaps are made again each time, so that a mended image is taken up.
        max_distance: largest L2 distance in pixel units (0..1) of a perturbed image to its plain one, as written, over
            all shards; ``None`` where nothing was perturbed.
        mean_distance: mean of these distances, or ``None``.
        notes: what its owner should know, in whole sentences: what the source left out, labels that the key does not
            expect, a disguise that keeps little of such images.
    """

    folder: Path
    images: int
    shards: int
    size: int
    skipped: tuple[str, ...]
    max_distance: float | None = None
    mean_distance: float | None = None
    notes: tuple[str, ...] = ()


def keyed_order(subkey: bytes, count: int) -> NDArray[np.int64]:
    """Return the order in which samples are written: ranks of AES-256-CTR words under the order sub-key.

    Nonce and counter are 0; each index has 8 bytes, little-endian; equal words keep the order of their indices.
    """
    from Crypto.Cipher import AES

    stream = AES.new(subkey, AES.MODE_CTR, nonce=bytes(8)).encrypt(bytes(8 * count))
    return np.frombuffer(stream, dtype="<u8").argsort(kind="stable")


class Run:
    """One call of :func:`export`, with the folder locked."""

    def __init__(self, job: DisguiseJob, plan: dict[str, Any], key: Key, lock: SharedDescriptor) -> None:
        self._job, self._plan, self._lock = job, plan, lock
        self._folder, self._signing = job.folder, key.subkey("manifest")
        self._journal = Journal(job.folder, self._signing, documents.digest(plan))
        self._order = keyed_order(key.subkey("order"), plan["images"])

    def finish(self, workers: int, resume: bool, progress: Progress) -> ExportResult:
        """Do what is left of the plan."""
        self._start_or_resume(resume)
        indices = self._shard_indices()
        finished = self._finished_shards(indices)
        tasks = [(index, each) for index, each in enumerate(indices) if index not in finished]
        if not self._job.skip_unfit:
            check_shapes(self._job, tasks)
        total = self._plan["images"]
        done = total - sum(len(each) for _, each in tasks)
        progress(done, total)

        def advance(images: int) -> None:
            nonlocal done
            done += images
            progress(done, total)

        try:
            for report in local.run(self._job, tasks, workers=workers, lock=self._lock, advance=advance):
                self._journal.append(report)
                finished[report.index] = report
            self._require_unchanged(finished, indices)
            return self._write_manifest(finished, indices)
        except OSError as error:
            if isinstance(error, ProtectError):
                raise
            raise ExportError(
                f"cannot write to {self._folder}: {error.strerror}; nothing half-written was left behind. Make room or "
                "mend it, then run the same export again to resume"
            ) from error

    def _shard_indices(self) -> list[NDArray[np.int64]]:
        size = self._plan["shard_size"]
        return [self._order[start : start + size] for start in range(0, len(self._order), size)]

    def _start_or_resume(self, resume: bool) -> None:
        """Write the plan into a fresh folder, or check that the folder's plan is this one."""
        kept, temporary, foreign = documents.own_files(self._folder)
        if foreign:
            raise ExportError(f"{self._folder} holds other files, such as {foreign[0].name}; choose a new folder")
        path = self._folder / documents.PLAN
        if path in kept and not resume:
            raise ExportError(f"{self._folder} holds an export already; choose a new folder, or resume it")
        if path not in kept and kept:
            raise ExportError(f"{self._folder} holds {kept[0].name} but no plan; choose a new folder")
        found = documents.read_document(path, documents.PLAN_FORMAT) if path in kept else {}
        if kept not in ([], [path]):  # a plan by itself, left by an export that failed at once, binds nobody
            self._require_same_plan(found)
        for leftover in temporary:
            leftover.unlink()
        if kept in ([], [path]):
            documents.write_document(path, documents.signed(self._plan, self._signing))

    def _require_same_plan(self, found: dict[str, Any]) -> None:
        different = sorted(name for name in self._plan if found.get(name) != self._plan[name])
        if "key" in different:  # names the source and the transform in its own way, so that these differ with it
            different = ["key"]
        if different:
            shown = [f"{name} was {_short(found.get(name))}, is {_short(self._plan[name])}" for name in different]
            raise ExportError(
                f"{self._folder} holds an export by another plan: {'; '.join(shown)}; nothing was changed. "
                "Repeat the call with the settings of that export, or choose a new folder"
            )
        if not documents.is_signed(found, self._signing):
            raise ExportError(f"{self._folder / documents.PLAN} was changed: its HMAC is wrong; choose a new folder")

    def _finished_shards(self, indices: list[NDArray[np.int64]]) -> dict[int, ShardReport]:
        """Return reports of the shards that are still what they were when they were finished, from the same images."""
        reports = self._journal.read()
        if (self._folder / documents.MANIFEST).exists():
            reports = self._reports_of_manifest() | reports
        intact = {index: report for index, report in reports.items() if self._is_intact(report)}
        confirmed = {index: self._confirm(report, indices[index]) for index, report in intact.items()}
        finished = {index: report for index, report in confirmed.items() if report is not None}
        gaps = {i for i, report in reports.items() if not report.inputs and report.count < len(indices[i])}
        mended = not gaps <= finished.keys()
        for position, (index, report) in enumerate(sorted(finished.items())):
            if position == 0 or (mended and not report.inputs):
                self._require_same_images(report, indices[index], whole=mended)
        return finished

    def _confirm(self, report: ShardReport, indices: NDArray[np.int64]) -> ShardReport | None:
        """Return the report of a shard that would be made from the same input again, else ``None``.

        A finished export keeps no record of its input. Only shards from which images were left out are compared with
        the source then, by making them again: an image may have been mended.
        """
        if report.inputs:
            return report if self._job.inputs(indices, report.skipped) == report.inputs else None
        if report.count == len(indices):
            return report
        same, skipped = self._job.compare(self._folder / report.name, indices)
        return replace(report, skipped=skipped) if same else None

    def _require_same_images(self, report: ShardReport, indices: NDArray[np.int64], *, whole: bool) -> None:
        """Make a finished shard again, or its start: two transforms may look alike, and so may two data sets."""
        path = self._folder / report.name
        same, _ = self._job.compare(path, indices, batches=None if whole else 1)
        if not same:
            raise ExportError(
                f"the transform and the images do not give what {path} holds, so one of them has changed; nothing was "
                "changed in the folder. Repeat the export with the same ones, or choose a new folder"
            )

    def _require_unchanged(self, finished: dict[int, ShardReport], indices: list[NDArray[np.int64]]) -> None:
        """Check that no image was replaced while the export ran: its shards would be of two states."""
        changed = [
            report.name
            for index, report in sorted(finished.items())
            if report.inputs and self._job.inputs(indices[index], report.skipped) != report.inputs
        ]
        if changed:
            raise ExportError(
                f"the source changed while it was exported: {len(changed)} of {len(indices)} shards, such as "
                f"{changed[0]}, are made of images that were replaced; run the same export again to make them again"
            )

    def _reports_of_manifest(self) -> dict[int, ShardReport]:
        manifest = documents.read_manifest(self._folder)
        if not documents.is_signed(manifest, self._signing) or manifest["plan"] != documents.digest(self._plan):
            raise ExportError(
                f"{self._folder / documents.MANIFEST} was changed, or belongs to another plan; choose a new folder"
            )
        return {index: ShardReport.from_entry(index, entry) for index, entry in enumerate(manifest["shards"])}

    def _is_intact(self, report: ShardReport) -> bool:
        path = self._folder / report.name
        return path.is_file() and path.stat().st_size == report.size and documents.file_sha256(path) == report.sha256

    def _write_manifest(self, finished: dict[int, ShardReport], indices: list[NDArray[np.int64]]) -> ExportResult:
        """Write the manifest, unless it is there and right, and remove the journal."""
        path = self._folder / documents.MANIFEST
        manifest = documents.make_manifest(self._plan, finished.values())
        before = documents.read_manifest(self._folder)["shards"] if path.exists() else []
        if before != manifest["shards"]:
            self._require_gaps(before, manifest["shards"], indices)
            manifest = documents.make_manifest(self._plan, map(self._with_labels, finished.values()))
            documents.write_document(path, documents.signed(manifest, self._signing))
        self._journal.remove()
        return ExportResult(
            self._folder,
            manifest["images"],
            len(finished),
            sum(report.size for report in finished.values()),
            tuple(self._job.source.name(index) for report in finished.values() for index in sorted(report.skipped)),
            *documents.overall_distance(finished.values()),
        )

    def _with_labels(self, report: ShardReport) -> ShardReport:
        """Read the labels of a shard that only the former manifest tells of."""
        if report.inputs:
            return report
        samples = read_shard(self._folder / report.name, report.entry, None)
        return replace(report, labels=sorted({sample.label for sample in samples if sample.label is not None}))

    def _require_gaps(self, before: list[Any], after: list[Any], indices: list[NDArray[np.int64]]) -> None:
        """Check that a finished shard has changed only where images had been left out of it."""
        for old, new, each in zip(before, after, indices, strict=False):  # before is empty where there was no manifest
            if old != new and old["count"] == len(each):
                raise ExportError(
                    f"{old['name']} in {self._folder} was damaged and could not be made again as it was: the source "
                    "has changed; choose a new folder"
                )


def _short(value: Any) -> str:
    """Return a field of a plan for a message: digests by their first digits."""
    return value[:12] if isinstance(value, str) else str(value)
