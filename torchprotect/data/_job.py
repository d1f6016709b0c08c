"""How one shard of an export is made: read, disguise, encode, write. The same in every process."""

import hashlib
import hmac
import io
import random
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from torchprotect._files import atomic_file, open_regular
from torchprotect.adversarial import distances
from torchprotect.data._encode import encode, extension
from torchprotect.data._noise import KeystreamNoise
from torchprotect.data._repeatable import repeatable
from torchprotect.data._tar import TarStream
from torchprotect.data.manifest import ShardReport, shard_name
from torchprotect.data.sources import Source
from torchprotect.errors import ExportError, KeySizeError, LabelError, ModelError, ProtectError, SourceError
from torchprotect.keys import LabelKey
from torchprotect.transforms import AdversarialEncrypt, Disguise

_BATCH_BYTES = 8 << 20
_BATCH_IMAGES = 1000


def steps(transform: nn.Module) -> list[nn.Module]:
    """Return the transforms that a (nested) composition runs, in order."""
    children = list(transform.children()) if isinstance(transform, nn.Module) else []
    inner = children or list(getattr(transform, "transforms", []))  # compositions of torchvision keep a plain list
    if isinstance(transform, Disguise) or not inner:
        return [transform]
    return [step for child in inner for step in steps(child)]


def perturbing(transform: nn.Module) -> list[AdversarialEncrypt]:
    """Return those steps that run a model, each once."""
    return list(dict.fromkeys(step for step in steps(transform) if isinstance(step, AdversarialEncrypt)))


def sample_id(subkey: bytes, name: str, index: int, image: Tensor) -> bytes:
    """Return a sample's id, 16 bytes: HMAC-SHA256 over name, 0, index (uint64 little-endian), SHA-256 of the pixels."""
    pixels = hashlib.sha256(image.numpy().tobytes()).digest()
    message = name.encode(errors="surrogateescape") + b"\0" + struct.pack("<Q", index) + pixels
    return hmac.digest(subkey, message, "sha256")[:16]


class _Read(NamedTuple):
    """One plain sample, by its number in the source, and the label that is written for it."""

    number: int
    image: Tensor
    label: int | None
    written: int | None


@dataclass(frozen=True, eq=False)
class DisguiseJob:
    """Everything a process needs to make any shard of one export.

    Attributes:
        source: plain images.
        transform: the disguise; its noise is drawn from keyed streams.
        labels: renaming of classes, or ``None``.
        signing: key of the digests that the journal keeps.
        id_subkey: key of the sample ids.
        noise_key: key of the noise.
        dtype: what every plain image must have.
        labelled: whether every sample must have a label, or none.
        folder: where shards are written.
        skip_unfit: leave images out that cannot be read or do not fit, instead of stopping.
    """

    source: Source
    transform: nn.Module
    labels: LabelKey | None
    signing: bytes
    id_subkey: bytes
    noise_key: bytes
    dtype: torch.dtype
    labelled: bool
    folder: Path
    skip_unfit: bool

    @property
    def perturbing(self) -> list[AdversarialEncrypt]:
        """Steps of the transform that run a model, each once."""
        return perturbing(self.transform)

    @property
    def uses_autograd(self) -> bool:
        """Whether gradients are computed."""
        return bool(self.perturbing)

    def run(self, index: int, indices: Any, advance: Callable[[int], None]) -> ShardReport:
        """Make one shard: the file has its final name only when it is whole and on disk."""
        count, labels, skipped, moved = 0, set[int](), list[int](), list[Tensor]()
        inputs = self._digest(self.source.content(indices.tolist()))  # a file that changes from now on shows later
        with atomic_file(self.folder / shard_name(index)) as file:
            stream = TarStream(file)
            for batch in self._batches(indices.tolist()):
                members, samples = self._disguise_batch(batch, skipped, moved)
                stream.write(members)
                labels |= {sample.written for sample in samples if sample.written is not None}
                count += len(samples)
                advance(len(batch))
            digest = stream.finish()
        made_from = self._sum(inputs, skipped)
        return ShardReport(index, count, stream.size, digest, sorted(labels), skipped, made_from, *_summary(moved))

    def inputs(self, indices: Any, skipped: list[int]) -> str:
        """Return the keyed digest of what a shard is made from, as its report has it."""
        return self._sum(self._digest(self.source.content(indices.tolist())), skipped)

    def compare(self, path: Path, indices: Any, *, batches: int | None = None) -> tuple[bool, list[int]]:
        """Make the first batches of a shard again, or all, and compare them with the file.

        Returns:
            Whether they are the same, and the source indices of images left out.
        """
        skipped = list[int]()
        with open_regular(path) as file:
            for batch in self._batches(indices.tolist())[:batches]:
                buffer = io.BytesIO()
                members, _ = self._disguise_batch(batch, skipped, [])
                TarStream(buffer).write(members)
                if file.read(len(buffer.getvalue())) != buffer.getvalue():
                    return False, skipped
        return True, skipped

    def _digest(self, lines: Iterator[bytes]) -> Any:
        digest = hmac.new(self.signing, digestmod="sha256")
        for line in lines:
            digest.update(len(line).to_bytes(8, "little") + line)
        return digest

    def _sum(self, inputs: Any, skipped: list[int]) -> str:
        """Add the samples that were left out: of a data set given in Python, the others are not all looked at."""
        inputs.update(self._digest(self.source.content(skipped)).digest())
        return str(inputs.hexdigest())

    def disguise(
        self, images: Tensor, ids: list[bytes], labels: list[int | None], moved: list[Tensor] | None = None
    ) -> Tensor:
        """Disguise a batch, drawing noise from each sample's own stream.

        Args:
            images: plain, ``[N, C, H, W]``.
            ids: of the samples.
            labels: plain ones; for perturbations.
            moved: L2 distances that a perturbation moved images by are added to it.

        Raises:
            ExportError: random numbers were drawn from elsewhere.
            ModelError: a perturbation's model fails.
        """
        before = _generators()
        with self._bound(ids, labels, moved), repeatable() if self.perturbing else nullcontext():
            result: Tensor = self.transform(images)
        _require_same(before, "the transform")
        if result.shape[0] != len(ids) or result.ndim != 4:
            raise ExportError(f"the transform must turn [N, C, H, W] into the same, not into {list(result.shape)}")
        return result

    @contextmanager
    def _bound(self, ids: list[bytes], labels: list[int | None], moved: list[Tensor] | None) -> Iterator[None]:
        """Give the disguises what belongs to a batch; nothing of it stays, since a worker could not be sent it."""
        disguises = [step for step in steps(self.transform) if isinstance(step, Disguise)]
        noise = KeystreamNoise(self.noise_key, ids)
        with ExitStack() as undo:
            for step in disguises:
                step.noise_source = noise  # one stream for all of them, each draws what follows
                undo.callback(step.__dict__.pop, "noise_source", None)
            for step in self.perturbing:
                step.labels_getter = lambda _: torch.tensor(labels)
                undo.callback(setattr, step, "labels_getter", None)
            if self.perturbing and moved is not None:
                hook = self.perturbing[-1].register_forward_hook(
                    lambda _, plain, done: moved.append(_moved(plain, done))
                )
                undo.callback(hook.remove)
            yield

    def check_label(self, label: int | None, where: str) -> None:
        """Check that a plain label can be written, and has targets where a perturbation goes by labels.

        Raises:
            LabelError: it cannot; the message says where the sample is.
        """
        self._check_targets(label, where)
        if label is None and self.labelled:
            raise LabelError(f"sample {where} has no label, but others have one; label all of them, or none")
        if label is not None and not self.labelled:
            raise LabelError(f"sample {where} has a label, but the first one has none; label all of them, or none")
        if self.labels is not None:
            if label is None:
                raise LabelError(f"sample {where} has no label to rename; use a key without a label map")
            if not 0 <= label < self.labels.classes:
                last = self.labels.classes - 1
                raise LabelError(f"class {label} of sample {where} lies outside the label map, which covers 0..{last}")

    def _check_targets(self, label: int | None, where: str) -> None:
        for step in self.perturbing:
            if not step.needs_labels:
                continue
            if label is None:
                raise LabelError(
                    f"sample {where} has no label, so it has no target class; give the images labels, or take "
                    "target_source='predicted' (--target-source predicted)"
                )
            if not 0 <= label < step.key.classes:
                last = step.key.classes - 1
                raise LabelError(f"class {label} of sample {where} has no target class: the key's map covers 0..{last}")

    def _batches(self, indices: list[int]) -> list[list[int]]:
        """Cut a shard into batches. The bounds depend on the plan alone, so the bytes do not depend on the run."""
        if self.perturbing:
            size = min(step.batch_size for step in self.perturbing)
        else:
            size = min(_BATCH_IMAGES, max(1, _BATCH_BYTES // self._first_image_bytes(indices)))
        return [indices[start : start + size] for start in range(0, len(indices), size)]

    def _first_image_bytes(self, indices: list[int]) -> int:
        for index in indices:
            try:
                return max(1, self.source[index].image.nbytes)
            except SourceError:
                if not self.skip_unfit:
                    raise
        return 1

    def _disguise_batch(
        self, indices: list[int], skipped: list[int], moved: list[Tensor]
    ) -> tuple[list[tuple[str, bytes]], list[_Read]]:
        """Return the tar members of a batch in order, and its samples; images of one shape are disguised together."""
        samples = self._read(indices, skipped)
        shapes: dict[torch.Size, list[_Read]] = {}
        for sample in samples:
            shapes.setdefault(sample.image.shape, []).append(sample)
        members: dict[int, list[tuple[str, bytes]]] = {}
        for group in shapes.values():
            try:
                members |= self._disguise_group(group, moved)
            except KeySizeError:
                if not self.skip_unfit:
                    raise
                skipped += [sample.number for sample in group]
        kept = [sample for sample in samples if sample.number in members]
        return [member for sample in kept for member in members[sample.number]], kept

    def _read(self, indices: list[int], skipped: list[int]) -> list[_Read]:
        before, samples = _generators(), []
        for index in indices:
            try:
                samples.append(self._read_one(index))
            except (SourceError, LabelError):
                if not self.skip_unfit:
                    raise
                skipped.append(index)
        _require_same(before, "the source")
        return samples

    def _read_one(self, index: int) -> _Read:
        image, label = self.source[index]
        where = self.source.locate(index)
        if image.dtype != self.dtype:
            raise SourceError(
                f"sample {where} is {image.dtype}, the first one was {self.dtype}; convert them to one dtype"
            )
        self.check_label(label, where)
        return _Read(index, image, label, label if self.labels is None or label is None else self.labels.map(label))

    def _disguise_group(self, group: list[_Read], moved: list[Tensor]) -> dict[int, list[tuple[str, bytes]]]:
        """Return the tar members of samples of one shape, by the number of the sample."""
        ids = [self._id(sample) for sample in group]
        disguised = self._disguise_named(group, ids, moved)
        kind = extension(disguised)
        members: dict[int, list[tuple[str, bytes]]] = {}
        for sample, identity, content in zip(group, ids, encode(disguised), strict=True):
            members[sample.number] = [(f"{identity.hex()}.{kind}", content)]
            if sample.written is not None:
                members[sample.number].append((f"{identity.hex()}.cls", str(sample.written).encode()))
        return members

    def _disguise_named(self, group: list[_Read], ids: list[bytes], moved: list[Tensor]) -> Tensor:
        """Disguise images of one shape, naming the first of them where they do not fit."""
        images = torch.stack([sample.image for sample in group])
        try:
            return self.disguise(images, ids, [sample.label for sample in group], moved)
        except ProtectError as error:
            others = " and others in its batch" if isinstance(error, ModelError) and len(group) > 1 else ""
            raise type(error)(f"sample {self.source.locate(group[0].number)}{others}: {error}") from error

    def _id(self, sample: _Read) -> bytes:
        return sample_id(self.id_subkey, self.source.name(sample.number), sample.number, sample.image)


def _moved(plain: tuple[Tensor, ...], done: Tensor) -> Tensor:
    """Return the L2 distances ``[N]`` between a step's pictures and its result, in pixel units."""
    return distances(_in_pixel_units(done), _in_pixel_units(plain[0]))


def _in_pixel_units(images: Tensor) -> Tensor:
    return images.double() / 255 if images.dtype == torch.uint8 else images.double()


def _summary(moved: list[Tensor]) -> tuple[float, float] | tuple[None, None]:
    """Return the largest and the mean distance, if there are any."""
    if not moved:
        return None, None
    every = torch.cat(moved)
    return float(every.max()), float(every.mean())


def _generators() -> tuple[Any, ...]:
    """Return the states of the global random number generators."""
    legacy: Any = np.random.get_state(legacy=True)
    on_cuda = (
        [state.numpy().tobytes() for state in torch.cuda.get_rng_state_all()] if torch.cuda.is_initialized() else []
    )
    return random.getstate(), torch.get_rng_state().numpy().tobytes(), *on_cuda, legacy[1].tobytes(), legacy[2:]


def _require_same(before: tuple[Any, ...], who: str) -> None:
    if _generators() != before:
        raise ExportError(
            f"{who} drew random numbers, so the export could not be repeated or resumed; take random augmentation out "
            "of it and put it into the training pipeline"
        )
