"""One run of an export: finished shards are kept, the others are made, and the manifest comes last."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from torchprotect.data._destination import Envelope, FinishedMeanwhileError, State
from torchprotect.data._job import ShardTask
from torchprotect.data._labels import class_counts
from torchprotect.data._owner_file import OwnerFile
from torchprotect.data._preflight import check_shapes
from torchprotect.data._report import ShardReport, overall_distance
from torchprotect.data._resume import Shards, reusable_shards
from torchprotect.data.engines import Engine
from torchprotect.data.owner import OWNER
from torchprotect.errors import ExportError

Progress = Callable[[int, int], None]
"""Called with the number of images done and the total."""

_ROUNDS = 3


@dataclass(frozen=True)
class ExportResult:
    """Size, gaps and distances of an export, or of a part of it, after the export has run.

    Attributes:
        location: path or URL of the export.
        images: number of images in the export, or in the part.
        shards: number of shards in the export, or in the part.
        made: shards that this run wrote; the others existed already.
        size: bytes in these shards.
        skipped: names of images left out, in this run or in the runs it resumed, because they could not be read or did
            not fit. Shards with such gaps are written again by each run, so that a repaired image is added.
        max_distance: largest L2 distance, in pixel units (0..1), of a perturbed image to its plain version, as written,
            over all these shards; ``None`` if nothing was perturbed.
        mean_distance: mean of these distances, or ``None``.
        notes: advice for the owner, in whole sentences: what the source left out, labels that the key does not expect,
            or a disguise that keeps little of such images.
        finished: whether the export has its manifest. A part leaves the manifest to the call without ``part``.
        class_counts: images of the source in each class, by the name of the class (or its number if it has no name), in
            the order of the classes. Empty if labels are not known before the images are read.
        digest: SHA-256 of the manifest file in hex, as ``sha256sum`` prints it; ``None`` for a part. It identifies the
            whole export: whoever learns it over another channel can check the export with nothing else.
    """

    location: str
    images: int
    shards: int
    made: int
    size: int
    skipped: tuple[str, ...]
    max_distance: float | None = None
    mean_distance: float | None = None
    notes: tuple[str, ...] = ()
    finished: bool = True
    class_counts: Mapping[str, int] = field(default_factory=dict)
    digest: str | None = None


def run(
    task: ShardTask,
    shards: Shards,
    *,
    engine: Engine,
    workers: int,
    resume: bool,
    progress: Progress,
    envelope: Envelope,
    owner: OwnerFile | None,
    notify: Callable[[str], None],
) -> ExportResult:
    """Write the shards that are not finished yet; then, unless this is a part, finish the export.

    Args:
        task: makes and writes a shard.
        shards: the shards of the export, or of the part.
        engine: runs the task for each shard.
        workers: how many shards at once; 0 leaves it to the engine.
        resume: whether there may be an export at the destination.
        progress: called with the number of images done and the total.
        envelope: what sealing and signing add to the finished export.
        owner: makes the owner's file, if there is to be one.
        notify: called with a note on the images before any shard is made.
    """
    run_once = partial(
        _run_once,
        task,
        shards,
        engine=engine,
        workers=workers,
        progress=progress,
        envelope=envelope,
        owner=owner,
        notify=notify,
    )
    try:
        return run_once(resume=resume)
    except FinishedMeanwhileError:  # then this is a part with nothing left to do, or a run that checks what is there
        return run_once(resume=True)


def _run_once(
    task: ShardTask,
    shards: Shards,
    *,
    engine: Engine,
    workers: int,
    resume: bool,
    progress: Progress,
    envelope: Envelope,
    owner: OwnerFile | None,
    notify: Callable[[str], None],
) -> ExportResult:
    is_part, state = task.destination.part is not None, task.destination.require_same_plan(resume=resume)
    if is_part and state is State.FINISHED:
        return _result(task, {}, made=0, finished=True)
    task = replace(task, destination=replace(task.destination, repairs=state is State.FINISHED))
    destination = task.destination
    if state is State.FINISHED and owner is not None and (content := destination.owner_content()) is not None:
        owner.require_same_labels(content, destination.files.path_of(OWNER))
    reports = {} if state is State.EMPTY else reusable_shards(task.job, destination, shards)
    if not task.job.skip_unfit:
        note = check_shapes(task.job, [indices for index, indices in shards.items() if index not in reports])
        if note is not None:
            notify(note)
    if state is State.EMPTY:
        destination.start()
    elif not is_part:
        destination.delete_temporaries()
    made = _make(task, shards, reports, engine, workers, progress)
    _require_unchanged_source(task, shards, reports)
    result = _result(task, reports, made=made, finished=not is_part)
    if is_part:
        return result
    done = destination.finish(reports.values(), envelope, owner=owner)
    return replace(result, digest=done.digest, notes=() if done.note is None else (done.note,))


def _make(
    task: ShardTask,
    shards: Shards,
    reports: dict[int, ShardReport],
    engine: Engine,
    workers: int,
    progress: Progress,
) -> int:
    """Make the shards that have no report, and those that another process has changed meanwhile; count them."""
    new = set[int]()
    for _ in range(_ROUNDS):
        missing = [(index, indices) for index, indices in shards.items() if index not in reports]
        left = sum(len(indices) for _, indices in missing)
        advance = count_images(progress, sum(map(len, shards.values())), left=left)
        for report in engine.run(task, missing, workers=workers, advance=advance):
            reports[report.index] = report
            new.add(report.index)
        intact = task.destination.intact(reports, new)
        for changed in reports.keys() - intact.keys():
            del reports[changed]
        if len(reports) == len(shards):
            return len(new)
    raise ExportError(
        f"{len(shards) - len(reports)} shards in {task.destination.store.location} were changed or deleted while the "
        "export ran: find what else writes there, then run the same export again"
    )


def count_images(progress: Progress | None, total: int, *, left: int | None = None) -> Callable[[int], None]:
    """Report the progress so far, and return the function that adds a number of images to it.

    Args:
        progress: called with the number of images done and the total, if anything.
        total: number of images.
        left: number of images still to do; all if not given.
    """
    done = 0 if left is None else total - left

    def advance(images: int) -> None:
        nonlocal done
        done += images
        if progress is not None:
            progress(done, total)

    advance(0)
    return advance


def _require_unchanged_source(task: ShardTask, shards: Shards, reports: dict[int, ShardReport]) -> None:
    """Check that no image was replaced while the export ran: its shards would mix two states of the source."""
    changed = [
        report.name
        for index, report in sorted(reports.items())
        if not report.is_from_manifest and task.job.inputs(shards[index], report.skipped) != report.inputs
    ]
    if changed:
        raise ExportError(
            f"the source changed while it was exported: {len(changed)} of {len(shards)} shards, such as "
            f"{changed[0]}, are made of images that were replaced; run the same export again to make them again"
        )


def _result(task: ShardTask, reports: dict[int, ShardReport], *, made: int, finished: bool) -> ExportResult:
    ordered = [report for _, report in sorted(reports.items())]
    skipped = [index for report in ordered for index in sorted(report.skipped)]
    max_distance, mean_distance = overall_distance(ordered)
    return ExportResult(
        task.destination.store.location,
        sum(report.count for report in ordered),
        len(ordered),
        made,
        sum(report.size for report in ordered),
        tuple(map(task.job.source.name, skipped)),
        max_distance,
        mean_distance,
        finished=finished,
        class_counts=class_counts(task.job.source, skipped) if finished else {},
    )
