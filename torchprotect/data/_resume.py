"""Find shards of an earlier run that can be kept: intact, and made from the same images by the same transform."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from torchprotect.data._destination import Destination
from torchprotect.data._job import DisguiseJob
from torchprotect.data._report import ShardReport
from torchprotect.errors import ExportError

Shards = dict[int, NDArray[np.int64]]
"""Source indices of the samples of each shard, by the index of the shard."""


def reusable_shards(job: DisguiseJob, destination: Destination, shards: Shards) -> dict[int, ShardReport]:
    """Return the reports of all finished shards that need not be made again, by index.

    Args:
        job: that would make the shards.
        destination: with the shards of an earlier run.
        shards: those that are wanted.

    Raises:
        ExportError: source or transform are not those that the finished shards were made with.
    """
    reports = destination.reports(shards)
    intact = destination.intact(reports)
    confirmed = {index: _confirm(job, destination, report, shards[index]) for index, report in intact.items()}
    reusable = {index: report for index, report in confirmed.items() if report is not None}
    had_gaps = {i for i, report in reports.items() if report.is_from_manifest and report.count < len(shards[i])}
    a_gap_was_filled = not had_gaps <= reusable.keys()
    for position, (index, report) in enumerate(sorted(reusable.items())):
        if position == 0 or (a_gap_was_filled and report.is_from_manifest):
            _require_same_content(job, destination, report, shards[index], whole=a_gap_was_filled)
    return reusable


def _confirm(
    job: DisguiseJob, destination: Destination, report: ShardReport, indices: NDArray[np.int64]
) -> ShardReport | None:
    """Return the report of a shard if the same input would make it again, otherwise ``None``.

    A manifest keeps no record of the input. Of its shards, only those with gaps are compared with the source here, by
    making them again: an image may have been repaired.
    """
    if not report.is_from_manifest:
        return report if job.inputs(indices, report.skipped) == report.inputs else None
    if report.count == len(indices):
        return report
    with destination.files.open(report.name) as file:
        same, skipped = job.compare(file, indices)
    return replace(report, skipped=skipped) if same else None


def _require_same_content(
    job: DisguiseJob, destination: Destination, report: ShardReport, indices: NDArray[np.int64], *, whole: bool
) -> None:
    """Make a shard again, or its first batch, because other transforms and data sets may have the same description."""
    with destination.files.open(report.name) as file:
        same, _ = job.compare(file, indices, batches=None if whole else 1)
    if not same:
        path = destination.files.path_of(report.name)
        raise ExportError(
            f"the transform and the images do not give what {path} holds, so one of them has changed; nothing was "
            "changed there. Repeat the export with the same ones, or choose another place"
        )
