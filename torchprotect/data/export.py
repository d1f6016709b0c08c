"""From plain images to protected shards: the plan, its execution, the manifest."""

import copy
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from torchprotect._json import canonical
from torchprotect._version import __version__
from torchprotect.data import manifest as documents
from torchprotect.data._encode import encode
from torchprotect.data._job import DisguiseJob, perturbing, sample_id, steps
from torchprotect.data._lock import SharedDescriptor, lock_folder
from torchprotect.data.engines import local
from torchprotect.data.manifest import Journal, ShardReport
from torchprotect.data.sources import Sample, Source, as_source
from torchprotect.errors import ExportError, InputRangeError, KeyKindError, ProtectError, SourceError
from torchprotect.keys import Key, KeyBundle
from torchprotect.training import home_of
from torchprotect.transforms import Disguise

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
        skipped: names of unreadable images left out in this run or the ones it resumed; empty for an export that was
            finished before.
        max_distance: largest L2 distance in pixel units (0..1) of a perturbed image to its plain one, as written, over
            all shards; ``None`` where nothing was perturbed.
        mean_distance: mean of these distances, or ``None``.
    """

    folder: Path
    images: int
    shards: int
    size: int
    skipped: tuple[str, ...]
    max_distance: float | None = None
    mean_distance: float | None = None


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
        on_error: ``"stop"`` at an unreadable image, or ``"skip"`` it and list it in the result.

    Raises:
        ExportError: the folder is in use, holds something else, or an export by another plan.
        SourceError: an image cannot be read; the message has its name.
        LabelError: a label lies outside the label map; or one that decides a target class is missing.
        ModelError: the model of a perturbation fails, or has no deterministic algorithm for something.
    """
    if shard_size < 1 or workers < 0 or on_error not in ("stop", "skip"):
        raise InputRangeError("shard_size must be at least 1, workers at least 0, on_error 'stop' or 'skip'")
    source, folder = as_source(dataset), Path(out)
    if len(source) == 0:
        raise ExportError("the source holds no images")
    _require_outside(folder, source)
    key = _export_key(transform, key)
    _require_own_device(transform, workers)
    transform = copy.deepcopy(transform)  # the export sets its noise sources
    for step in perturbing(transform):
        step.labels_getter = None  # labels come from the source
    described = [_describe(step) for step in steps(transform)]
    first, sample = _first_sample(source, on_error)
    job = DisguiseJob(
        source,
        transform,
        key.labels if isinstance(key, KeyBundle) else None,
        key.subkey("id"),
        noise_key(key.subkey("noise"), described),
        sample.image.dtype,
        folder,
        on_error == "skip",
    )
    _require_labels(job, first, sample)
    plan = _make_plan(job, key, described, shard_size) | {"probe": _probe(job, key, first, sample)}

    folder.mkdir(parents=True, exist_ok=True)
    lock = lock_folder(folder)
    try:
        return _Run(job, plan, key, lock).finish(workers, resume, progress or _no_progress)
    finally:
        lock.close()


def noise_key(subkey: bytes, described: list[dict[str, Any]]) -> bytes:
    """Return the key of an export's noise: HMAC-SHA256 of the plan's transform under the noise sub-key.

    Exports of one source with other settings draw other noise; the same noise at two strengths would cancel out.
    """
    return hmac.digest(subkey, canonical(described), "sha256")


def keyed_order(subkey: bytes, count: int) -> NDArray[np.int64]:
    """Return the order in which samples are written: ranks of AES-256-CTR words under the order sub-key.

    Nonce and counter are 0; each index has 8 bytes, little-endian; equal words keep the order of their indices.
    """
    from Crypto.Cipher import AES

    stream = AES.new(subkey, AES.MODE_CTR, nonce=bytes(8)).encrypt(bytes(8 * count))
    return np.frombuffer(stream, dtype="<u8").argsort(kind="stable")


def _no_progress(done: int, total: int) -> None:
    """Show nothing."""


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


def _first_sample(source: Source, on_error: str) -> tuple[int, Sample]:
    """Return the first readable sample; with it mistakes show before anything is written."""
    for index in range(len(source)):
        try:
            return index, source[index]
        except SourceError:
            if on_error == "stop":
                raise
    raise ExportError("no image of the source can be read")


def _require_own_device(transform: nn.Module, workers: int) -> None:
    for step in perturbing(transform):
        device = home_of(step.model)[0].type
        if workers and device != "cpu":
            raise InputRangeError(f"the model is on {device}, which worker processes do not share: take workers=0")


def _require_labels(job: DisguiseJob, first: int, sample: Sample) -> None:
    """Check labels that decide targets, as far as they are known without reading every image."""
    job.check_label(sample.label, job.source.name(first))
    if job.perturbing and hasattr(job.source, "known_labels"):
        places: dict[int | None, int] = {}
        for index, label in enumerate(job.source.known_labels()):
            places.setdefault(label, index)
        for label, index in places.items():
            job.check_label(label, job.source.name(index))


def _probe(job: DisguiseJob, key: Key, index: int, sample: Sample) -> str:
    """Disguise one sample, so that mistakes show before anything is written, and return a keyed digest of the result.

    The digest tells transforms apart whose reprs are equal, such as two functions.
    """
    again = job.source[index].image
    identity = sample_id(job.id_subkey, job.source.name(index), index, sample.image)
    first, second = (job.disguise(image[None], [identity], [sample.label]) for image in (sample.image, again))
    if not torch.equal(first, second):
        raise ExportError("reading and disguising one sample twice gave two results; an export must be repeatable")
    digest = hmac.new(key.subkey("manifest"), f"{first.dtype}{list(first.shape)}".encode(), "sha256")
    digest.update(next(encode(first)))
    return digest.hexdigest()


def _shown(value: Any) -> str:
    """Return a field of a plan for a message: digests by their first digits."""
    return value[:12] if isinstance(value, str) else str(value)


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


class _Run:
    """One call of :func:`export`, with the folder locked."""

    def __init__(self, job: DisguiseJob, plan: dict[str, Any], key: Key, lock: SharedDescriptor) -> None:
        self._job, self._plan, self._lock = job, plan, lock
        self._folder, self._signing = job.folder, key.subkey("manifest")
        self._journal = Journal(job.folder, self._signing, documents.digest(plan))
        self._order = keyed_order(key.subkey("order"), plan["images"])

    def finish(self, workers: int, resume: bool, progress: Progress) -> ExportResult:
        """Do what is left of the plan."""
        self._take_up(resume)
        finished = self._finished_shards()
        indices = self._shard_indices()
        tasks = [(index, each) for index, each in enumerate(indices) if index not in finished]
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
            return self._conclude(finished)
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

    def _take_up(self, resume: bool) -> None:
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
            shown = [f"{name} was {_shown(found.get(name))}, is {_shown(self._plan[name])}" for name in different]
            raise ExportError(
                f"{self._folder} holds an export by another plan: {'; '.join(shown)}; nothing was changed. "
                "Repeat the call with the settings of that export, or choose a new folder"
            )
        if not documents.is_signed(found, self._signing):
            raise ExportError(f"{self._folder / documents.PLAN} was changed: its HMAC is wrong; choose a new folder")

    def _finished_shards(self) -> dict[int, ShardReport]:
        """Return reports of the shards that are still what they were when they were finished."""
        manifest = self._folder / documents.MANIFEST
        reports = self._journal.read()
        if manifest.exists():
            reports = self._reports_of(documents.read_document(manifest, documents.MANIFEST_FORMAT)) | reports
        return {index: report for index, report in reports.items() if self._is_intact(report)}

    def _reports_of(self, manifest: dict[str, Any]) -> dict[int, ShardReport]:
        if not documents.is_signed(manifest, self._signing) or manifest.get("plan") != documents.digest(self._plan):
            raise ExportError(
                f"{self._folder / documents.MANIFEST} was changed, or belongs to another plan; choose a new folder"
            )
        entries = documents.shard_entries(manifest, self._folder / documents.MANIFEST)
        return {index: ShardReport.from_entry(index, entry) for index, entry in enumerate(entries)}

    def _is_intact(self, report: ShardReport) -> bool:
        path = self._folder / report.name
        return path.exists() and path.stat().st_size == report.size and documents.file_sha256(path) == report.sha256

    def _conclude(self, finished: dict[int, ShardReport]) -> ExportResult:
        """Write the manifest, if there is none yet, and take the journal away."""
        path = self._folder / documents.MANIFEST
        manifest = documents.make_manifest(self._plan, finished.values())
        if not path.exists():
            documents.write_document(path, documents.signed(manifest, self._signing))
        elif documents.read_document(path, documents.MANIFEST_FORMAT)["shards"] != manifest["shards"]:
            raise ExportError(
                f"shards of {self._folder} were damaged and could not be made again as they were: the source has "
                "changed; choose a new folder"
            )
        self._journal.remove()
        return ExportResult(
            self._folder,
            manifest["images"],
            len(finished),
            sum(report.size for report in finished.values()),
            tuple(self._job.source.name(index) for report in finished.values() for index in sorted(report.skipped)),
            *documents.overall_distance(finished.values()),
        )
