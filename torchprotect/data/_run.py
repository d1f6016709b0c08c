"""One run of an export: what is finished stays, the rest is made, the manifest comes last."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from torchprotect.data._folder import ExportFolder
from torchprotect.data._job import DisguiseJob
from torchprotect.data._preflight import check_shapes
from torchprotect.data._report import ShardReport, overall_distance
from torchprotect.data._resume import reusable_shards
from torchprotect.data.engines import local
from torchprotect.errors import ExportError, ProtectError

Progress = Callable[[int, int], None]
"""Called with the number of images done and the number in all."""


@dataclass(frozen=True)
class ExportResult:
    """Size, gaps and distances of an export that was just finished.

    Attributes:
        folder: of the export.
        images: images in it.
        shards: shards in it.
        size: bytes of all shards.
        skipped: names of images left out in this run or the ones it resumed, since they could not be read or did not
            fit. Shards with such gaps are made again each time, so that a repaired image is added.
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


def run(
    job: DisguiseJob,
    folder: ExportFolder,
    shards: list[NDArray[np.int64]],
    *,
    workers: int,
    resume: bool,
    progress: Progress,
) -> ExportResult:
    """Make the shards that are not finished yet, then finish the export.

    Args:
        job: makes a shard.
        folder: where the shards and documents go.
        shards: source indices of the samples of each shard.
        workers: worker processes; 0 works in this process.
        resume: whether the folder may hold an export.
        progress: called with images done and images in all.
    """
    folder.start_or_resume(resume)
    finished = reusable_shards(job, folder, shards)
    tasks = [(index, indices) for index, indices in enumerate(shards) if index not in finished]
    if not job.skip_unfit:
        check_shapes(job, tasks)
    advance = _counter(progress, sum(map(len, shards)), left=sum(len(indices) for _, indices in tasks))
    try:
        for report in local.run(job, tasks, workers=workers, lock=folder.lock, advance=advance):
            folder.record(report)
            finished[report.index] = report
        _require_unchanged_source(job, finished, shards)
        manifest = folder.finish(finished.values())
    except OSError as error:
        if isinstance(error, ProtectError):
            raise
        raise ExportError(
            f"cannot write to {folder.path}: {error.strerror}; nothing half-written was left behind. Make room or "
            "repair the disk, then run the same export again to resume"
        ) from error
    return ExportResult(
        folder.path,
        manifest["images"],
        len(finished),
        sum(report.size for report in finished.values()),
        tuple(job.source.name(index) for report in finished.values() for index in sorted(report.skipped)),
        *overall_distance(finished.values()),
    )


def _counter(progress: Progress, total: int, *, left: int) -> Callable[[int], None]:
    """Report the progress so far, and return the function that adds a number of images to it."""
    done = total - left
    progress(done, total)

    def advance(images: int) -> None:
        nonlocal done
        done += images
        progress(done, total)

    return advance


def _require_unchanged_source(
    job: DisguiseJob, finished: dict[int, ShardReport], shards: list[NDArray[np.int64]]
) -> None:
    """Check that no image was replaced while the export ran: its shards would be of two states."""
    changed = [
        report.name
        for index, report in sorted(finished.items())
        if not report.is_from_manifest and job.inputs(shards[index], report.skipped) != report.inputs
    ]
    if changed:
        raise ExportError(
            f"the source changed while it was exported: {len(changed)} of {len(shards)} shards, such as "
            f"{changed[0]}, are made of images that were replaced; run the same export again to make them again"
        )
