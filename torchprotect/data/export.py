"""From plain images to protected shards: the plan, its execution, the manifest."""

import copy
import hmac
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from torchprotect._files import make_folder, require_local
from torchprotect._inputs import require_int
from torchprotect._json import canonical
from torchprotect._lock import lock_folder
from torchprotect._version import __version__
from torchprotect.data import manifest as documents
from torchprotect.data._job import DisguiseJob, perturbing, sample_id, steps
from torchprotect.data._preflight import check_labels, make_notes, note_classes
from torchprotect.data._run import ExportResult, Progress, Run, keyed_order
from torchprotect.data.sources import Sample, Source, as_source
from torchprotect.errors import (
    ExportError,
    InputRangeError,
    KeyKindError,
    KeySizeError,
    LabelError,
    ProtectError,
    SourceError,
)
from torchprotect.keys import Key, KeyBundle, SecretBytes
from torchprotect.training import device_of
from torchprotect.transforms import Disguise

__all__ = ["ExportResult", "Progress", "export", "keyed_order", "noise_key"]


def export(
    dataset: Any,
    out: str | os.PathLike[str],
    *,
    transform: nn.Module,
    key: Key | None = None,
    shard_size: int = 1000,
    workers: int = 0,
    resume: bool = True,
    progress: Progress | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    notify: Callable[[str], None] | None = None,
) -> ExportResult:
    """Disguise every image of a data set and write it as WebDataset shards with a manifest.

    An interrupted export is finished by the same call; its bytes equal those of an undisturbed run.

    This is also how a data set is perturbed: with :class:`torchprotect.transforms.AdversarialEncrypt`, images go
    through the model ``batch_size`` at a time, with their plain labels, by deterministic algorithms. The bytes are then
    the same on one machine with one version of torch. Device, precision, batch size and a digest of the model are part
    of the plan.

    Args:
        dataset: map-style dataset of ``(image, label)``, or a source from :func:`torchprotect.data.open_source`.
        out: folder to write; must be new, empty, or hold an unfinished export by the same plan.
        transform: a disguise, or a ``v2.Compose`` with one; it may draw noise, but not from other generators.
        key: bundle whose label map renames the classes; without one, the key of the disguise, and labels stay.
        shard_size: images in a shard.
        workers: worker processes, by multiprocessing's default start method; 0 works in this process. Each computes on
            one thread, as this process does meanwhile. With a perturbation, "spawn" takes the place of "fork" where
            there is an accelerator, and a model on one needs 0.
        resume: whether an unfinished export in ``out`` may be continued.
        progress: called with images done and images in all.
        on_error: ``"stop"`` at an image that cannot be read or does not fit (another size, no label, a label outside
            the map), or ``"skip"`` it and list it in the result.
        notify: called with each of the result's notes, before the first shard is made where they are known by then.

    Raises:
        ExportError: the folder is in use, holds something else, or an export by another plan.
        SourceError: an image cannot be read; the message says which one and where it is.
        KeySizeError: an image has another size or number of channels than the key is for.
        LabelError: a label lies outside the label map, or is missing where others are there or a target depends on it.
        ModelError: the model of a perturbation fails, or has no deterministic algorithm for something.
    """
    require_int("shard_size", shard_size, at_least=1)
    require_int("workers", workers, at_least=0)
    if on_error not in ("stop", "skip"):
        raise InputRangeError(f"on_error must be 'stop' or 'skip', got {on_error!r}")
    require_local(out)
    source, folder = as_source(dataset), Path(out)
    if len(source) == 0:
        raise ExportError("the source holds no images")
    _require_outside(folder, source)
    key_given = key is not None
    key = _export_key(transform, key)
    _require_own_device(transform, workers)
    transform = copy.deepcopy(transform)  # the export sets its noise sources
    for step in perturbing(transform):
        step.labels_getter = None  # labels come from the source
    described = [_describe(step) for step in steps(transform)]
    job = _make_job(source, transform, key, described, folder, on_error)
    if on_error == "stop":
        check_labels(job)
    notify = notify or _say_nothing
    notes = make_notes(job, key_given)
    for note in notes:
        notify(note)
    plan = _make_plan(job, key, described, shard_size)

    make_folder(folder)
    lock = lock_folder(folder, f"{folder} is in use by another export; wait for it to end")
    try:
        result = Run(job, plan, key, lock).finish(workers, resume, progress or _no_progress)
    finally:
        lock.close()
    if not hasattr(source, "known_labels"):  # now the labels are known
        late = note_classes(job, documents.read_manifest(folder)["labels"])
        if late is not None:
            notify(late)
            notes += (late,)
    return replace(result, notes=notes)


def noise_key(subkey: bytes, described: list[dict[str, Any]]) -> SecretBytes:
    """Return the key of an export's noise: HMAC-SHA256 of the plan's transform under the noise sub-key.

    Exports of one source with other settings draw other noise; the same noise at two strengths would cancel out.
    """
    return SecretBytes(hmac.digest(subkey, canonical(described), "sha256"))


def _no_progress(done: int, total: int) -> None:
    """Show nothing."""


def _say_nothing(note: str) -> None:
    """Leave notes to the result."""


def _require_outside(folder: Path, source: Source) -> None:
    for root in source.folders:
        if folder.resolve().is_relative_to(root.resolve()):
            raise ExportError(f"{folder} lies inside the source {root}; write the export somewhere else")


def _export_key(transform: nn.Module, key: Key | None) -> Key:
    """Return the key whose root signs the export; check that it goes with the transform."""
    keyed: list[Any] = [step for step in steps(transform) if isinstance(step, Disguise) and hasattr(step, "key")]
    if not keyed:
        raise ExportError(f"{type(transform).__name__} holds no keyed disguise: the images would be exported in clear")
    if any(getattr(step, "inverse", False) for step in keyed):
        raise ExportError("a transform with inverse=True would export plain images; leave it out")
    used: Key = keyed[-1].key
    if key is None or key == used:
        return used
    if not isinstance(key, KeyBundle) or key.transform != used:
        raise KeyKindError(f"the key {key.fingerprint[:12]} is not the one the transform uses, nor a bundle with it")
    if key.permutation != getattr(keyed[-1], "permutation", None):
        raise KeyKindError("the transform does not use the bundle's permutation; make it with transforms.from_key")
    return key


def _require_own_device(transform: nn.Module, workers: int) -> None:
    for step in perturbing(transform):
        device = device_of(step.model).type
        if workers and device != "cpu":
            raise InputRangeError(f"the model is on {device}, which worker processes do not share: take workers=0")


def _make_job(
    source: Source, transform: nn.Module, key: Key, described: list[dict[str, Any]], folder: Path, on_error: str
) -> DisguiseJob:
    """Return the job; the first sample that fits has been disguised for it, so that mistakes show at once."""
    job = DisguiseJob(
        source,
        transform,
        key.labels if isinstance(key, KeyBundle) else None,
        key.subkey("manifest"),
        key.subkey("id"),
        noise_key(key.subkey("noise"), described),
        torch.uint8,
        False,
        folder,
        on_error == "skip",
    )
    known = source.known_labels() if hasattr(source, "known_labels") else None
    first_error: ProtectError | None = None
    for index in range(len(source)):
        try:
            image, label = source[index]
            labelled = any(each is not None for each in (known or [label]))
            job = replace(job, dtype=image.dtype, labelled=labelled)
            job.check_label(label, source.locate(index))
            _require_repeatable(job, index, Sample(image, label))
        except (SourceError, LabelError, KeySizeError) as error:
            if on_error == "stop":
                raise
            first_error = first_error or error
        else:
            return job
    raise ExportError(f"no image of the source can be exported; of the first one: {first_error}")


def _require_repeatable(job: DisguiseJob, index: int, sample: Sample) -> None:
    """Read and disguise one sample twice, and compare."""
    again = job.source[index].image
    identity = sample_id(job.id_subkey, job.source.name(index), index, sample.image)
    try:
        first, second = (job.disguise(image[None], [identity], [sample.label]) for image in (sample.image, again))
    except KeySizeError as error:
        raise KeySizeError(f"sample {job.source.locate(index)}: {error}") from error
    if not torch.equal(first, second):
        raise ExportError("reading and disguising one sample twice gave two results; an export must be repeatable")


def _describe(step: nn.Module) -> dict[str, Any]:
    if isinstance(step, Disguise):
        return step.describe()
    if " at 0x" in repr(step):
        raise ExportError(f"{type(step).__name__} needs a repr that is the same in every run; define __repr__")
    return {"name": repr(step)}


def _make_plan(job: DisguiseJob, key: Key, described: list[dict[str, Any]], shard_size: int) -> dict[str, Any]:
    listing = hmac.new(key.subkey("manifest"), digestmod="sha256")
    for line in job.source.listing():
        listing.update(len(line).to_bytes(8, "little") + line)
    return {
        "format": documents.PLAN_FORMAT,
        "version": documents.VERSION,
        "torchprotect": __version__,
        "source": listing.hexdigest(),
        "transform": described,
        "plain": {"dtype": str(job.dtype).removeprefix("torch."), "scale": 255 if job.dtype == torch.uint8 else 1},
        "key": key.fingerprint,
        "images": len(job.source),
        "shard_size": shard_size,
    }
