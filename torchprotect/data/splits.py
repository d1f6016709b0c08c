"""Export train, validation and test sets together: with one key and shared checks, otherwise independent."""

import hashlib
import itertools
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torchprotect.data.export import ExportResult, PlannedExport, Progress, make_settings, plan_export
from torchprotect.data.sources import Source, as_source, class_names_of, read_samples, renumber
from torchprotect.data.store import is_url
from torchprotect.errors import InputRangeError, SourceError

_SETTINGS = ("prepare", "store", "owner_file", "shard_size", "generation")
_RUN = ("engine", "workers", "resume")


def export_splits(
    sources: Mapping[str, Any],
    out: str | os.PathLike[str],
    *,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, ExportResult]:
    """Export several data sets with one key as splits, each into its own folder.

    Before any shard is written, all data sets are checked: labels, shapes, and that no image file is in two of them.
    Classes are numbered over all splits, in sorted order of their names, so that a class may be missing in a split.
    Order, ids and noise of a split are derived with its name.

    Args:
        sources: data sets or sources by the name of their split, such as ``{"train": .., "val": ..}``.
        out: folder or URL that receives one folder for each split.
        progress: called with the number of images done and the total, over all splits.
        **options: options of :func:`torchprotect.data.export`, except ``split`` and ``part``.

    Returns:
        The result of each split.

    Raises:
        InputRangeError: the name of a split cannot be the name of a folder.
        SourceError: an image is in two splits, or the class names of the splits differ.
        ExportError: as for :func:`torchprotect.data.export`.
    """
    opened = {_require_name(name): as_source(source) for name, source in sources.items()}
    if not opened:
        raise InputRangeError("at least one split is needed")
    opened = _with_same_classes(opened)
    _require_disjoint(opened)
    run_options = {name: options.pop(name) for name in _RUN if name in options}
    settings = {name: options.pop(name) for name in _SETTINGS if name in options}
    planned = {
        name: plan_export(
            source,
            _below(out, name),
            settings=make_settings(split=name, recipients=options.get("recipients"), **settings),
            shares_devices=run_options.get("engine") is not None or not run_options.get("workers"),
            **{"key": None, **options, "notify": partial(_notify, options.get("notify"), name)},
        )
        for name, source in opened.items()
    }
    _require_alike(planned)
    for each in planned.values():
        each.check_shapes()
    return _run_all(planned, {name: len(source) for name, source in opened.items()}, progress, run_options)


def _require_alike(planned: Mapping[str, PlannedExport]) -> None:
    """Check that images and labels of all splits are of one kind, because a loader reads them together."""
    kinds = {name: _kind(each) for name, each in planned.items()}
    (first, kind), *others = kinds.items()
    for name, other in others:
        if differing := [what for what in kind if kind[what] != other[what]]:
            told = "; ".join(f"{what}: {first} has {kind[what]}, {name} {other[what]}" for what in differing)
            raise SourceError(
                f"the splits do not go together: {told}. Prepare images (--mode, --resize), and label all splits in "
                "one way, with class names or a key with a label map"
            )


def _kind(planned: PlannedExport) -> dict[str, str]:
    job = planned.task.job
    named = class_names_of(job.source) is not None
    labels = "none" if not job.labelled else "several an image" if job.classes is not None else "one an image"
    return {
        "shape": "any" if job.shape is None else str(job.shape),
        "labels": labels,
        "class names": "any" if not job.labelled else "yes" if named else "no",
        "classes": "any" if job.classes is None else str(job.classes),
    }


def _run_all(
    planned: Mapping[str, PlannedExport], sizes: Mapping[str, int], progress: Progress | None, options: dict[str, Any]
) -> dict[str, ExportResult]:
    results, before, total = {}, 0, sum(sizes.values())
    for name, each in planned.items():

        def advance(done: int, _: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        results[name] = each.run(progress=advance, **options)
        before += sizes[name]
    return results


def _notify(notify: Callable[[str], None] | None, split: str, note: str) -> None:
    if notify is not None:
        notify(f"{split}: {note}")


def _require_name(name: Any) -> str:
    if not isinstance(name, str) or not name or "/" in name or "\\" in name or name.startswith("."):
        raise InputRangeError(f"the name of a split is also that of its folder, so it cannot be {name!r}")
    return name


def _below(out: str | os.PathLike[str], name: str) -> str | Path:
    return f"{str(out).rstrip('/')}/{name}" if is_url(out) else Path(out) / name


def _with_same_classes(sources: Mapping[str, Source]) -> dict[str, Source]:
    """Number the classes over all splits, by their names; nothing changes if all splits have the same classes."""
    known = {name: classes for name, source in sources.items() if (classes := class_names_of(source)) is not None}
    if len(set(known.values())) <= 1:
        return dict(sources)
    for name, classes in known.items():
        if list(classes) != sorted(classes) or not hasattr(sources[name], "known_labels"):
            raise SourceError(
                f"the splits have different classes, and those of {name} are not in sorted order, or its labels are "
                "not known in advance: give class_names with all classes when the sources are opened (--classes-of)"
            )
    union = tuple(sorted(set().union(*known.values())))
    return {name: renumber(source, union) if name in known else source for name, source in sources.items()}


def _require_disjoint(sources: Mapping[str, Source]) -> None:
    """Check that no file is in two splits, byte by byte; without file digests, that no image is, by its pixels."""
    by_file = all(hasattr(source, "digests") for source in sources.values())
    found = {name: _digests(source, by_file=by_file) for name, source in sources.items()}
    for first, second in itertools.combinations(found, 2):
        shared = found[first].keys() & found[second].keys()
        if shared:
            pairs = sorted((found[first][digest], found[second][digest]) for digest in shared)
            example = sources[first].locate(pairs[0][0]), sources[second].locate(pairs[0][1])
            raise SourceError(
                f"{len(shared):,} {'image is' if len(shared) == 1 else 'images are'} in both {first} and {second}, "
                f"such as {example[0]} and {example[1]}; remove them from one, or export each split by itself (split=, "
                "--split)"
            )


def _digests(source: Any, *, by_file: bool) -> dict[bytes, int]:
    """Return the index of an image by a digest of its file, or of its pixels."""
    digests: Iterator[bytes | None] = source.digests() if by_file else _pixel_digests(source)
    return {digest: index for index, digest in enumerate(digests) if digest is not None}


def _pixel_digests(source: Source) -> Iterator[bytes | None]:
    for start in range(0, len(source), 100):
        for sample in read_samples(source, list(range(start, min(start + 100, len(source))))):
            if isinstance(sample, SourceError):
                yield None
            else:
                shape = str(tuple(sample.image.shape)).encode()
                yield hashlib.sha256(shape + sample.image.contiguous().numpy().tobytes()).digest()[:16]
