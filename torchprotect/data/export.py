"""Export plain images to protected shards: check the settings, make the plan, and start its run."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Any, Literal

from torch import nn

from torchprotect._inputs import require_int, type_name
from torchprotect.data import manifest as documents
from torchprotect.data._destination import Destination, Envelope
from torchprotect.data._job import DisguiseJob, ShardTask
from torchprotect.data._owner_file import OwnerFile
from torchprotect.data._plan import PlanSettings, make_job, make_plan, plan_shards
from torchprotect.data._preflight import check_shapes, make_notes, note_classes
from torchprotect.data._resume import Shards
from torchprotect.data._run import ExportResult, Progress, run
from torchprotect.data.engines import Engine, ExecutorEngine, LocalEngine
from torchprotect.data.preparation import Preparation
from torchprotect.data.sealed_manifest import LARGEST_GENERATION, SAME_DATA_KEY, open_plan
from torchprotect.data.sources import Source, as_source
from torchprotect.data.store import Store, lies_in, open_store
from torchprotect.envelope import Recipients, SigningKey
from torchprotect.envelope.data_key import DataKey
from torchprotect.errors import EnvelopeError, ExportError, InputRangeError, InputTypeError, KeyKindError
from torchprotect.keys import Key, KeyBundle
from torchprotect.transforms.pipeline import Pipeline

__all__ = ["ExportResult", "Progress", "export"]

_LONGEST_SPLIT = 100  # characters


def export(
    dataset: Any,
    out: str | os.PathLike[str],
    *,
    transform: nn.Module,
    key: Key | None = None,
    prepare: Preparation | None = None,
    split: str | None = None,
    store: Literal["float16"] | None = None,
    owner_file: bool = True,
    shard_size: int = 1000,
    workers: int = 0,
    engine: Engine | Executor | None = None,
    part: tuple[int, int] | None = None,
    resume: bool = True,
    progress: Progress | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    notify: Callable[[str], None] | None = None,
    recipients: Recipients | Sequence[str] | None = None,
    generation: int | None = None,
    signing_key: SigningKey | str | os.PathLike[str] | None = None,
) -> ExportResult:
    """Disguise every image of a data set and write it as WebDataset shards with a manifest.

    Calling it again finishes an interrupted export. The bytes equal those of an undisturbed run, wherever and in
    whatever order the shards are made.

    To perturb a data set, export it with :class:`torchprotect.transforms.AdversarialEncrypt`. Images go through the
    model ``batch_size`` at a time, with their plain labels, using deterministic algorithms. The bytes are then the same
    on one machine with one version of torch. The plan records device, precision, batch size and a digest of the model.

    Args:
        dataset: map-style dataset of ``(image, label)``, or a source from :func:`torchprotect.data.open_source`, or a
            ``Subset`` of one. Only sources give names to restored pictures; those of other datasets are numbered.
        out: folder or URL to write to, such as ``s3://bucket/prefix``. It must be new, empty, or hold an export with
            the same plan. Credentials come from the environment or from fsspec's configuration files.
        transform: a disguise, or a ``v2.Compose`` of disguises and deterministic steps. Disguises draw their noise from
            a keyed stream; no step may draw from the global generators of Python, NumPy or torch.
        key: bundle whose label map renames the classes. ``None`` takes the key of the disguise, and labels stay plain.
        prepare: steps that bring pictures of any size and mode to one shape, before ``transform``. Plan and manifest
            state them.
        split: name of this split of the data, such as ``"train"``. Exports of one key under different names share the
            disguise, but neither order nor ids nor noise. Give each set of images that is exported with one key its own
            name. Plan and manifest state it.
        store: ``"float16"`` rounds the images of :class:`torchprotect.transforms.RMTDisguise` to half precision, which
            halves their size.
        owner_file: whether to keep the names of classes and samples with the export, encrypted for the key holder.
        shard_size: images per shard.
        workers: worker processes, started by multiprocessing's default method; 0 works in this process. Each computes
            on one thread, and so does this process meanwhile. For a perturbation, "spawn" replaces "fork" if there is
            an accelerator. A model on an accelerator needs 0.
        engine: makes the shards elsewhere: an executor as in ``concurrent.futures``, or a
            :class:`torchprotect.data.engines.RayEngine`. ``workers`` is then the largest number of shards in progress;
            0 leaves it to the engine.
        part: ``(i, n)`` makes only the shards i, i + n, i + 2n, .. with ``0 <= i < n``, and no manifest. Any number of
            parts may run at the same time, on any machines. The call without ``part`` makes the missing shards and
            finishes the export.
        resume: whether an unfinished export in ``out`` may be continued.
        progress: called with the number of images done and the total.
        on_error: ``"stop"`` at an image that cannot be read or does not fit (another size, no label, a label outside
            the map), or ``"skip"`` it and list it in the result.
        notify: called with each note of the result; before the first shard is made if the note is known by then.
        recipients: seals the export, so that only these recipients can open it: public keys (``age1...``,
            ``ssh-ed25519 ...``, ``ssh-rsa ...``) or, to add a passphrase, :class:`torchprotect.envelope.Recipients`.
        generation: number of the data key that seals the export; 1 if not given. Exports with the same key, plan and
            generation have the same data key, wherever they are stored: whoever opens one of them can open the others.
        signing_key: signs the manifest when the export is finished (a part has none); the key or the path of its file.

    Returns:
        What was exported, with notes for the owner.

    Raises:
        ExportError: the folder is in use, or holds something else or an export with another plan.
        StoreError: the folder or bucket cannot be reached, listed or written, or the URL contains credentials.
        SourceError: an image cannot be read; the message says which one and where it is. Or the images have several
            shapes; the message says how many images have which shape.
        KeyKindError: ``key`` is neither the transform's key nor a bundle that contains it.
        KeySizeError: the size or the number of channels of an image differs from the key's.
        LabelError: a label lies outside the label map, or is missing although other images have one or a target depends
            on it.
        EnvelopeError: a recipient is malformed, or a package of the extra ``envelope`` is missing.
        ModelError: the model of a perturbation fails, or one of its operations has no deterministic algorithm.

    Example::

        key = keys.load("rmt.key")
        source = data.open_source("photos/")
        data.export(source, "out/", transform=transforms.from_key(key, noise=100), workers=4)
    """
    require_int("workers", workers, at_least=0)
    planned = plan_export(
        dataset,
        out,
        transform=transform,
        key=key,
        settings=make_settings(
            prepare=prepare,
            split=split,
            store=store,
            owner_file=owner_file,
            shard_size=shard_size,
            recipients=recipients,
            generation=generation,
        ),
        part=part,
        on_error=on_error,
        notify=notify,
        recipients=recipients,
        signing_key=signing_key,
        shares_devices=engine is not None or workers == 0,
    )
    return planned.run(engine=engine, workers=workers, resume=resume, progress=progress)


@dataclass(frozen=True)
class PlannedExport:
    """An export whose settings and labels were checked; nothing is written yet.

    Attributes:
        task: makes and writes a shard.
        shards: source indices of the samples of each shard.
        owner: makes the owner's file, if there is to be one.
        envelope: what sealing and signing add to the finished export.
        notes: notes on the source, with the function that receives them.
        is_part: whether the manifest is left to another run.
        note_at_end: a note for the end of the export, if there is one.
    """

    task: ShardTask
    shards: Shards
    owner: OwnerFile | None
    envelope: Envelope
    notes: "_Notes"
    is_part: bool
    note_at_end: str | None

    def check_shapes(self) -> None:
        """Check the shapes of all images, as far as headers tell."""
        if not self.task.job.skip_unfit:
            check_shapes(self.task.job, list(self.shards.values()))

    def run(
        self,
        *,
        engine: Engine | Executor | None = None,
        workers: int = 0,
        resume: bool = True,
        progress: Progress | None = None,
    ) -> ExportResult:
        """Make what is missing; see :func:`export`."""
        place = self.task.destination.store
        in_use = f"{place.location} is in use by another export; wait for it to end"
        place.prepare()
        with place.lock(in_use, shared=self.is_part) as lock:
            result = run(
                self.task,
                self.shards,
                engine=ExecutorEngine(engine) if isinstance(engine, Executor) else engine or LocalEngine(lock),
                workers=workers,
                resume=resume,
                progress=progress or _no_progress,
                envelope=self.envelope,
                owner=self.owner,
                notify=self.notes.add,
            )
        self.notes.add(*result.notes)
        if result.finished:
            self.notes.add(self.note_at_end, self._note_classes())
        return replace(result, notes=tuple(self.notes.all))

    def _note_classes(self) -> str | None:
        """Note the classes of a source that did not know its labels in advance."""
        job, destination = self.task.job, self.task.destination
        if hasattr(job.source, "known_labels"):
            return None
        return note_classes(job, documents.read_manifest(destination.files)["labels"])


def make_settings(
    *,
    prepare: Any = None,
    split: Any = None,
    store: Any = None,
    owner_file: bool = True,
    shard_size: Any = 1000,
    recipients: Any = None,
    generation: Any = None,
) -> PlanSettings:
    """Check the arguments of :func:`export` that a plan states, and return them."""
    require_int("shard_size", shard_size, at_least=1)
    if generation is not None and recipients is None:
        raise EnvelopeError("a generation is that of a sealed export: give recipients too")
    if generation is not None:
        require_int("generation", generation, at_least=1, at_most=LARGEST_GENERATION)
    return PlanSettings(
        shard_size=shard_size,
        preparation=_require_preparation(prepare),
        split=_require_split(split),
        store=_require_store(store),
        owner_file=owner_file,
        generation=None if recipients is None else generation or 1,
        generation_given=generation is not None,
    )


def plan_export(
    dataset: Any,
    out: str | os.PathLike[str],
    *,
    transform: nn.Module,
    key: Key | None,
    settings: PlanSettings,
    part: tuple[int, int] | None = None,
    on_error: Literal["stop", "skip"] = "stop",
    notify: Callable[[str], None] | None = None,
    recipients: Recipients | Sequence[str] | None = None,
    signing_key: SigningKey | str | os.PathLike[str] | None = None,
    shares_devices: bool = True,
) -> PlannedExport:
    """Check everything except shapes that can be checked before the first shard; see :func:`export`.

    Args:
        dataset, out, transform, key, part, on_error, notify, recipients, signing_key: as for :func:`export`.
        settings: settings of the plan.
        shares_devices: whether shards are made where the models of the transform are.
    """
    if on_error not in ("stop", "skip"):
        raise InputRangeError(f"on_error must be 'stop' or 'skip', got {on_error!r}")
    _require_part(part)
    signer = None if signing_key is None else SigningKey.of(signing_key)
    to = recipients if recipients is None or isinstance(recipients, Recipients) else Recipients.of(recipients)
    source, place = _open(dataset, out)
    pipeline = Pipeline(transform)
    own_key = _require_key(pipeline, key)
    if not shares_devices:
        _require_shared_devices(pipeline)
    described = pipeline.describe()
    job = make_job(source, pipeline, own_key, described, settings=settings, skip_unfit=on_error == "skip")
    notes = _Notes(notify)
    notes.add(*make_notes(job, key_given=key is not None, is_part=part is not None))
    plan = make_plan(job, own_key, described, settings)
    shards = plan_shards(plan, own_key, part)
    generation = settings.generation
    data_key = None if generation is None else DataKey.of_export(own_key, documents.digest(plan), generation)
    part_name = None if part is None else f"{part[0]}/{part[1]}"
    return PlannedExport(
        ShardTask(job, Destination(place, plan, job.signing, part_name, data_key=data_key)),
        shards,
        _owner_file(job, own_key, plan, shards) if settings.owner_file else None,
        Envelope({} if to is None or data_key is None or part is not None else to.wrap(data_key), signer),
        notes,
        is_part=part is not None,
        note_at_end=SAME_DATA_KEY if generation is not None and not settings.generation_given else None,
    )


def _owner_file(job: DisguiseJob, key: Key, plan: dict[str, Any], shards: Shards) -> OwnerFile:
    return OwnerFile(job.source, key, documents.digest(open_plan(plan)), shards, job.classes)


class _Notes:
    """Notes so far; each is passed on as soon as it is added."""

    def __init__(self, notify: Callable[[str], None] | None) -> None:
        self.all = list[str]()
        self._notify = notify

    def add(self, *notes: str | None) -> None:
        for note in notes:
            if note is not None:
                self.all.append(note)
                if self._notify is not None:
                    self._notify(note)


def _no_progress(done: int, total: int) -> None:
    """Show nothing."""


def _require_preparation(prepare: Any) -> Preparation:
    if prepare is not None and not isinstance(prepare, Preparation):
        raise InputTypeError(f"prepare must be a data.Preparation, got {type_name(prepare)}")
    return prepare or Preparation()


def _require_split(split: Any) -> str | None:
    """Check the name of a split: it is written into plan and manifest."""
    if split is None:
        return None
    if not isinstance(split, str) or not 1 <= len(split) <= _LONGEST_SPLIT or not split.isprintable():
        raise InputRangeError(f"split must be a name of 1 to {_LONGEST_SPLIT} printable characters, got {split!r}")
    return split


def _require_store(store: Any) -> Literal["float16"] | None:
    if store not in (None, "float16"):
        raise InputRangeError(f"store must be 'float16' or None, got {store!r}")
    return "float16" if store else None


def _require_part(part: Any) -> None:
    if part is None:
        return
    if not isinstance(part, tuple) or len(part) != 2:
        raise InputRangeError(f"part must be (index, number of parts), got {part!r}")
    require_int("the number of parts", part[1], at_least=1)
    require_int("the index of the part", part[0], at_least=0, at_most=part[1] - 1)


def _open(dataset: Any, out: str | os.PathLike[str]) -> tuple[Source, Store]:
    """Return the source and the store to write to; neither may lie inside the other."""
    source, store = as_source(dataset), open_store(out)
    if len(source) == 0:
        raise ExportError("the source holds no images")
    for root in source.folders:
        if lies_in(store.location, root):
            raise ExportError(f"{store.location} lies inside the source {root}; write the export somewhere else")
        if lies_in(root, store.location):
            raise ExportError(f"the source {root} lies inside {store.location}; write the export somewhere else")
    store.require_writable()
    return source, store


def _require_key(pipeline: Pipeline, key: Key | None) -> Key:
    """Return the key whose root signs the export; check that it belongs to the transform."""
    if not pipeline.keyed:
        raise ExportError("the transform holds no keyed disguise, so images would be exported unprotected; add one")
    if any(disguise.inverse for disguise in pipeline.keyed):
        raise ExportError("a transform with inverse=True would export plain images; leave it out")
    last = pipeline.keyed[-1]
    used: Any = last.key
    if key is None or key == used:
        return used
    if not isinstance(key, KeyBundle) or key.transform != used:
        raise KeyKindError(f"the key {key.fingerprint[:12]} is not the one the transform uses, nor a bundle with it")
    if key.permutation != last.permutation:
        raise KeyKindError("the transform does not use the bundle's permutation; make it with transforms.from_key")
    return key


def _require_shared_devices(pipeline: Pipeline) -> None:
    """Check that worker processes can use the devices that models are on."""
    for device in sorted({device.type for device in pipeline.devices} - {"cpu"}):
        raise InputRangeError(f"the model is on {device}, which worker processes do not share: take workers=0")
