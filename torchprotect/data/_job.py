"""Make one shard of an export: read, disguise, encode, write. The same in every process and on every machine."""

import hmac
import io
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from torchprotect._files import HashedFile
from torchprotect._inputs import type_name
from torchprotect.data._destination import Destination
from torchprotect.data._encode import convert_stored, encode, extension
from torchprotect.data._labels import are_ascending, numbers_in, rename, to_member
from torchprotect.data._repeatable import deterministic, without_draws
from torchprotect.data._report import ShardReport
from torchprotect.data._tar import TarStream
from torchprotect.data.keyed import KeystreamNoise, sample_id
from torchprotect.data.preparation import Shape
from torchprotect.data.sources import Label, Sample, Source, class_names_of, read_samples
from torchprotect.errors import ExportError, KeySizeError, LabelError, ModelError, ProtectError, SourceError
from torchprotect.keys import LabelKey
from torchprotect.transforms import DisguisedBatch
from torchprotect.transforms.pipeline import Pipeline

_BATCH_BYTES = 8 << 20
_BATCH_IMAGES = 1000

Member = tuple[str, bytes]
"""Name and content of a file in a shard."""


class _PlainSample(NamedTuple):
    """One sample of the source, with the label to write for it."""

    source_index: int
    image: Tensor
    label: Label
    written: Label


class _Batch(NamedTuple):
    """One batch of a shard, disguised and encoded.

    Attributes:
        ids: ids of the samples, in order.
        members: files of the samples, in order.
        written: labels of these samples.
        skipped: source indices of images left out, since they could not be read or did not fit.
        distances: distances of perturbed images, one tensor for each shape of images.
    """

    ids: list[str]
    members: list[Member]
    written: list[Label]
    skipped: list[int]
    distances: list[Tensor]


@dataclass(frozen=True, eq=False)
class DisguiseJob:
    """Everything a process needs to make any shard of one export.

    Attributes:
        source: plain images.
        pipeline: the disguise and the steps around it; noise is drawn from keyed streams.
        labels: renaming of classes, or ``None``.
        signing: key of the digests in reports.
        id_subkey: key of the sample ids.
        noise_key: key of the noise.
        store: dtype that floating-point results are stored with; ``None`` stores them as they are.
        dtype: required dtype of every plain image.
        shape: required shape of every disguised image; ``None`` if shapes may differ.
        labelled: whether every sample must have a label, or none may have one.
        skip_unfit: whether to skip images that cannot be read or do not fit, instead of stopping.
        classes: number of classes if every sample has a tuple of class numbers; ``None`` if it has one number.
    """

    source: Source
    pipeline: Pipeline
    labels: LabelKey | None
    signing: bytes
    id_subkey: bytes
    noise_key: bytes
    store: torch.dtype | None
    dtype: torch.dtype
    shape: Shape | None
    labelled: bool
    skip_unfit: bool
    classes: int | None = None

    @property
    def uses_gradients(self) -> bool:
        """Whether gradients are computed."""
        return self.pipeline.uses_gradients

    def make(self, file: HashedFile, index: int, indices: Any, advance: Callable[[int], None]) -> ShardReport:
        """Write one shard to a file.

        Args:
            file: an empty file.
            index: index of the shard.
            indices: indices of its samples in the source.
            advance: called with each number of images done.
        """
        ids, labels, skipped, distances = list[str](), set[int](), list[int](), list[Tensor]()
        inputs = self._digest(self.source.content(indices.tolist()))  # later changes of a file are detected at the end
        stream = TarStream(file)
        for part in self._batches(indices.tolist()):
            batch = self._make_batch(part)
            stream.write(batch.members)
            ids += batch.ids
            labels |= {number for label in batch.written for number in numbers_in(label)}
            skipped += batch.skipped
            distances += batch.distances
            advance(len(part))
        stream.finish()
        made_from = self._finish_inputs(inputs, skipped)
        written = len(ids), file.size, file.sha256, sorted(labels), skipped, made_from
        return replace(ShardReport(index, *written, *_max_and_mean(distances)), ids="".join(ids))

    def inputs(self, indices: Any, skipped: list[int]) -> str:
        """Return the keyed digest of a shard's input, as in its report."""
        return self._finish_inputs(self._digest(self.source.content(indices.tolist())), skipped)

    def compare(self, file: BinaryIO, indices: Any, *, batches: int | None = None) -> tuple[bool, list[int]]:
        """Make the first batches of a shard again, or all, and compare them with an open file.

        Returns:
            Whether they are the same, and the source indices of skipped images.
        """
        skipped = list[int]()
        for part in self._batches(indices.tolist())[:batches]:
            buffer, batch = io.BytesIO(), self._make_batch(part)
            skipped += batch.skipped
            TarStream(buffer).write(batch.members)
            if file.read(len(buffer.getvalue())) != buffer.getvalue():
                return False, skipped
        return True, skipped

    def _digest(self, lines: Iterator[bytes]) -> Any:
        digest = hmac.new(self.signing, digestmod="sha256")
        for line in lines:
            digest.update(len(line).to_bytes(8, "little") + line)
        return digest

    def _finish_inputs(self, inputs: Any, skipped: list[int]) -> str:
        """Add the skipped samples to a digest: a data set given in Python digests only some of the others."""
        inputs.update(self._digest(self.source.content(skipped)).digest())
        return str(inputs.hexdigest())

    def sample_id(self, index: int, image: Tensor) -> bytes:
        """Return the 16 bytes that identify a plain image at an index of the source."""
        return sample_id(self.id_subkey, self.source.name(index), index, image)

    def disguise(self, images: Tensor, ids: list[bytes], labels: list[Label]) -> DisguisedBatch:
        """Disguise a batch, drawing noise from each sample's own stream.

        Args:
            images: plain, ``[N, C, H, W]``.
            ids: ids of the samples, 16 bytes each.
            labels: plain class numbers.

        Raises:
            ExportError: random numbers were drawn from elsewhere, or the result is not a batch of N images.
            ModelError: a perturbation's model fails.
        """
        classes = torch.tensor(labels) if self.pipeline.needs_labels else None

        def run() -> DisguisedBatch:
            noise = KeystreamNoise(self.noise_key, ids)
            with deterministic() if self.uses_gradients else nullcontext():
                return self.pipeline.disguise_batch(images, classes, noise=noise)

        # A perturbation takes so long that other threads may draw meanwhile: it is checked on one image only.
        batch = run() if self.uses_gradients and len(ids) > 1 else without_draws(run)
        if not isinstance(batch.images, Tensor) or batch.images.ndim != 4 or len(batch.images) != len(ids):
            received = list(batch.images.shape) if isinstance(batch.images, Tensor) else type_name(batch.images)
            raise ExportError(f"the transform must turn [N, C, H, W] into the same, not into {received}")
        return batch

    def check_label(self, label: Label, where: str) -> None:
        """Check that a plain label can be written, and that the disguises can take an image of this class.

        Raises:
            LabelError: it cannot; the message says where the sample is.
        """
        self.pipeline.check_label(label, where)
        if label is None and self.labelled:
            raise LabelError(f"sample {where} has no label, but others have one; label all of them, or none")
        if label is not None and not self.labelled:
            raise LabelError(f"sample {where} has a label, but the first one has none; label all of them, or none")
        if self.labels is not None:
            if label is None:
                raise LabelError(f"sample {where} has no label to rename; use a key without a label map")
            last = self.labels.classes - 1
            if outside := [number for number in numbers_in(label) if not 0 <= number <= last]:
                raise LabelError(
                    f"class {self._class_name(outside[0])} of sample {where} lies outside the label map, which covers "
                    f"0..{last}"
                )
        self._require_kind(label, where)

    def _class_name(self, number: int) -> str:
        names = class_names_of(self.source)
        return f"{number}, {names[number]!r:.80}," if names is not None and number < len(names) else str(number)

    def _require_kind(self, label: Label, where: str) -> None:
        """Check that a sample has one label if others have one, and a tuple if others have tuples."""
        if isinstance(label, int) and self.classes is not None:
            raise LabelError(f"sample {where} has one label, but others have a tuple of labels; give each a tuple")
        if not isinstance(label, tuple):
            return
        if self.classes is None:
            raise LabelError(f"sample {where} has a tuple of labels, but others have one; give each a tuple")
        if not are_ascending(label, self.classes):
            raise LabelError(
                f"sample {where} has the labels {label!s:.80}, which are not class numbers in 0..{self.classes - 1} "
                "in ascending order"
            )

    def _batches(self, indices: list[int]) -> list[list[int]]:
        """Divide a shard into batches. The bounds depend on the plan alone, so the bytes do not depend on the run."""
        size = self.pipeline.max_batch
        if size is None:
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

    def _make_batch(self, indices: list[int]) -> _Batch:
        """Read, disguise and encode the samples of a batch; images of one shape are disguised together."""
        samples, skipped = self._read(indices)
        shapes: dict[torch.Size, list[_PlainSample]] = {}
        for sample in samples:
            shapes.setdefault(sample.image.shape, []).append(sample)
        members, distances = dict[int, list[Member]](), list[Tensor]()
        for group in shapes.values():
            try:
                found, away = self._disguise_and_encode(group)
            except (KeySizeError, SourceError):
                if not self.skip_unfit:
                    raise
                skipped += [sample.source_index for sample in group]
            else:
                members |= found
                distances += [] if away is None else [away]
        kept = [sample for sample in samples if sample.source_index in members]
        in_order = [members[sample.source_index] for sample in kept]
        ids = [files[0][0].partition(".")[0] for files in in_order]
        joined = [file for files in in_order for file in files]
        return _Batch(ids, joined, [sample.written for sample in kept], skipped, distances)

    def _read(self, indices: list[int]) -> tuple[list[_PlainSample], list[int]]:
        """Return the samples that can be read and fit, and the indices of the others."""
        samples, skipped = list[_PlainSample](), list[int]()
        for index, found in zip(indices, read_samples(self.source, indices), strict=True):
            try:
                samples.append(self._checked(index, found))
            except (SourceError, LabelError):
                if not self.skip_unfit:
                    raise
                skipped.append(index)
        return samples, skipped

    def _checked(self, index: int, found: Sample | SourceError) -> _PlainSample:
        if isinstance(found, SourceError):
            raise found
        image, label = found
        where = self.source.locate(index)
        if image.dtype != self.dtype:
            raise SourceError(
                f"sample {where} is {image.dtype}, the first one was {self.dtype}; convert them to one dtype"
            )
        self.check_label(label, where)
        return _PlainSample(index, image, label, rename(label, self.labels))

    def _disguise_and_encode(self, group: list[_PlainSample]) -> tuple[dict[int, list[Member]], Tensor | None]:
        """Return the tar members of samples of one shape, by the index of the sample, and their distances."""
        ids = [self.sample_id(sample.source_index, sample.image) for sample in group]
        batch = self._disguise_or_locate(group, ids)
        self._require_shape(group[0].source_index, batch.images)
        images = batch.images if self.store is None else convert_stored(batch.images, self.store)
        kind = extension(images)
        members: dict[int, list[Member]] = {}
        for sample, identity, content in zip(group, ids, encode(images), strict=True):
            members[sample.source_index] = [(f"{identity.hex()}.{kind}", content)]
            if (member := to_member(sample.written)) is not None:
                members[sample.source_index].append((f"{identity.hex()}.{member[0]}", member[1]))
        return members, batch.distances

    def _require_shape(self, index: int, images: Tensor) -> None:
        """Check that images have the shape of the first sample, because loaders stack them."""
        if self.shape is not None and (found := Shape(*images.shape[1:])) != self.shape:
            raise SourceError(
                f"sample {self.source.locate(index)} would be exported as {found}, the first one as {self.shape}; a "
                "data set has one shape: prepare the images (--mode, --resize), or skip those that do not fit"
            )

    def _disguise_or_locate(self, group: list[_PlainSample], ids: list[bytes]) -> DisguisedBatch:
        """Disguise images of one shape; an error names the location of the first of them."""
        images = torch.stack([sample.image for sample in group])
        try:
            return self.disguise(images, ids, [sample.label for sample in group])
        except ProtectError as error:
            others = " and others in its batch" if isinstance(error, ModelError) and len(group) > 1 else ""
            raise type(error)(f"sample {self.source.locate(group[0].source_index)}{others}: {error}") from error


@dataclass(frozen=True, eq=False)
class ShardTask:
    """Makes any shard of one export and writes it. Can be sent to other processes and machines.

    Attributes:
        job: makes the shards.
        destination: where they are written.
    """

    job: DisguiseJob
    destination: Destination

    @property
    def uses_gradients(self) -> bool:
        """Whether gradients are computed."""
        return self.job.uses_gradients

    @property
    def shared(self) -> bool:
        """Whether other processes can write to the destination."""
        return self.destination.store.shared

    @property
    def devices(self) -> set[torch.device]:
        """Devices that models are on."""
        return self.job.pipeline.devices

    def run(self, index: int, indices: Any, advance: Callable[[int], None]) -> ShardReport:
        """Make and write one shard, then its report."""
        with self.destination.write_shard(index) as upload:
            made = self.job.make(upload.file, index, indices, advance)
        # Perturbations differ between machines: a tag does not tell which of two writers made the bytes.
        report = replace(made, sealed=upload.sealed, tag=None if self.uses_gradients else upload.tag)
        self.destination.record(report)
        return report


def _max_and_mean(distances: list[Tensor]) -> tuple[float, float] | tuple[None, None]:
    if not distances:
        return None, None
    joined = torch.cat(distances)
    return float(joined.max()), float(joined.mean())
