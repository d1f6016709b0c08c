"""How one shard of an export is made: read, disguise, encode, write. The same in every process."""

import hashlib
import hmac
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from torchprotect._files import atomic_file
from torchprotect.data._encode import encode, extension
from torchprotect.data._noise import KeystreamNoise
from torchprotect.data._tar import TarStream
from torchprotect.data.manifest import ShardReport, shard_name
from torchprotect.data.sources import Sample, Source
from torchprotect.errors import ExportError, LabelError, ProtectError, SourceError
from torchprotect.keys import LabelKey
from torchprotect.transforms import Disguise

_BATCH_BYTES = 8 << 20
_BATCH_IMAGES = 1000


def steps(transform: nn.Module) -> list[nn.Module]:
    """Return the transforms that a (nested) composition runs, in order."""
    children = list(transform.children()) if isinstance(transform, nn.Module) else []
    inner = children or list(getattr(transform, "transforms", []))  # compositions of torchvision keep a plain list
    if isinstance(transform, Disguise) or not inner:
        return [transform]
    return [step for child in inner for step in steps(child)]


def sample_id(subkey: bytes, name: str, index: int, image: Tensor) -> bytes:
    """Return a sample's id, 16 bytes: HMAC-SHA256 over name, 0, index (uint64 little-endian), SHA-256 of the pixels."""
    pixels = hashlib.sha256(image.numpy().tobytes()).digest()
    message = name.encode(errors="surrogateescape") + b"\0" + struct.pack("<Q", index) + pixels
    return hmac.digest(subkey, message, "sha256")[:16]


@dataclass(frozen=True, eq=False)
class DisguiseJob:
    """Everything a process needs to make any shard of one export.

    Attributes:
        source: plain images.
        transform: the disguise; its noise is drawn from keyed streams.
        labels: renaming of classes, or ``None``.
        id_subkey: key of the sample ids.
        noise_key: key of the noise.
        dtype: what every plain image must have.
        folder: where shards are written.
        skip_unreadable: leave unreadable images out instead of stopping.
    """

    source: Source
    transform: nn.Module
    labels: LabelKey | None
    id_subkey: bytes
    noise_key: bytes
    dtype: torch.dtype
    folder: Path
    skip_unreadable: bool

    def run(self, index: int, indices: Any, advance: Callable[[int], None]) -> ShardReport:
        """Make one shard: the file has its final name only when it is whole and on disk."""
        count, labels, skipped = 0, set[int](), list[int]()
        with atomic_file(self.folder / shard_name(index)) as file:
            stream = TarStream(file)
            for batch in self._batches(indices.tolist()):
                samples = self._read(batch, skipped)
                stream.write(self._members(samples))
                labels |= {sample.label for _, sample in samples if sample.label is not None}
                count += len(samples)
                advance(len(batch))
            digest = stream.finish()
        return ShardReport(index, count, stream.size, digest, sorted(labels), skipped)

    def disguise(self, images: Tensor, ids: list[bytes]) -> Tensor:
        """Disguise a batch, drawing noise from each sample's own stream.

        Raises:
            ExportError: random numbers were drawn from elsewhere.
        """
        disguises = [step for step in steps(self.transform) if isinstance(step, Disguise)]
        noise = KeystreamNoise(self.noise_key, ids)
        before = _generators()
        try:
            for step in disguises:
                step.noise_source = noise  # one stream for all of them, each draws what follows
            result: Tensor = self.transform(images)
        finally:
            for step in disguises:
                step.__dict__.pop("noise_source", None)  # a stream cannot be pickled for a worker
        _require_same(before, "the transform")
        if result.shape[0] != len(ids) or result.ndim != 4:
            raise ExportError(f"the transform must turn [N, C, H, W] into the same, not into {list(result.shape)}")
        return result

    def _batches(self, indices: list[int]) -> list[list[int]]:
        """Cut a shard into batches. The bounds depend on the shard alone, so the bytes do not depend on the run."""
        size = min(_BATCH_IMAGES, max(1, _BATCH_BYTES // self._first_image_bytes(indices)))
        return [indices[start : start + size] for start in range(0, len(indices), size)]

    def _first_image_bytes(self, indices: list[int]) -> int:
        for index in indices:
            try:
                return max(1, self.source[index].image.nbytes)
            except SourceError:
                if not self.skip_unreadable:
                    raise
        return 1

    def _read(self, indices: list[int], skipped: list[int]) -> list[tuple[int, Sample]]:
        before, samples = _generators(), []
        for index in indices:
            try:
                sample = self.source[index]
            except SourceError:
                if not self.skip_unreadable:
                    raise
                skipped.append(index)
                continue
            if sample.image.dtype != self.dtype:
                raise ExportError(
                    f"sample {self.source.name(index)} is {sample.image.dtype}, the first one was {self.dtype}; "
                    "convert them to one dtype"
                )
            samples.append((index, self._renamed(sample)))
        _require_same(before, "the source")
        return samples

    def _members(self, samples: list[tuple[int, Sample]]) -> list[tuple[str, bytes]]:
        """Return the tar members of a batch in order; images of one shape are disguised together."""
        shapes: dict[torch.Size, list[int]] = {}
        for place, (_, sample) in enumerate(samples):
            shapes.setdefault(sample.image.shape, []).append(place)
        members: list[list[tuple[str, bytes]]] = [[] for _ in samples]
        for places in shapes.values():
            ids = [self._id(*samples[place]) for place in places]
            images = torch.stack([samples[place][1].image for place in places])
            disguised = self._disguise_named(images, ids, self.source.name(samples[places[0]][0]))
            kind = extension(disguised)
            for place, identity, content in zip(places, ids, encode(disguised), strict=True):
                members[place].append((f"{identity.hex()}.{kind}", content))
                sample = samples[place][1]
                if sample.label is not None:
                    members[place].append((f"{identity.hex()}.cls", str(sample.label).encode()))
        return [member for group in members for member in group]

    def _disguise_named(self, images: Tensor, ids: list[bytes], name: str) -> Tensor:
        """Disguise images of one shape, naming the first of them where they do not fit."""
        try:
            return self.disguise(images, ids)
        except ProtectError as error:
            raise type(error)(f"sample {name}: {error}") from error

    def _id(self, index: int, sample: Sample) -> bytes:
        return sample_id(self.id_subkey, self.source.name(index), index, sample.image)

    def _renamed(self, sample: Sample) -> Sample:
        """Return the sample with the label that is written for it."""
        if self.labels is None:
            return sample
        if sample.label is None:
            raise LabelError("a sample without a label cannot be renamed; use a key without a label map")
        if not 0 <= sample.label < self.labels.classes:
            last = self.labels.classes - 1
            raise LabelError(f"class {sample.label} lies outside the label map, which covers 0..{last}")
        return Sample(sample.image, self.labels.map(sample.label))


def _generators() -> tuple[Any, ...]:
    """Return the states of the global random number generators."""
    legacy: Any = np.random.get_state(legacy=True)
    return random.getstate(), torch.get_rng_state().numpy().tobytes(), legacy[1].tobytes(), legacy[2:]


def _require_same(before: tuple[Any, ...], who: str) -> None:
    if _generators() != before:
        raise ExportError(
            f"{who} drew random numbers, so the export could not be repeated or resumed; take random augmentation out "
            "of it and put it into the training pipeline"
        )
