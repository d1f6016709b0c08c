"""Turn samples of an export back into plain ones, with its key."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchprotect.data.keyed import KeystreamNoise, noise_key, sample_id
from torchprotect.data.owner import Original
from torchprotect.data.sources import Label
from torchprotect.keys import Key, KeyBundle, LabelKey, SecretBytes
from torchprotect.transforms.from_description import from_description
from torchprotect.transforms.pipeline import Pipeline


@dataclass(frozen=True, eq=False, repr=False)
class Undo:
    """The inverse of an export's disguise.

    Attributes:
        pipeline: the steps of the export.
        noise_key: of the keyed streams that noise was drawn from.
        id_key: of the sample ids.
        labels: renaming of classes, or ``None``.
        dtype: dtype of plain images.
        scale: scale of their pixels.
    """

    pipeline: Pipeline
    noise_key: SecretBytes
    id_key: SecretBytes
    labels: LabelKey | None
    dtype: torch.dtype
    scale: int

    @classmethod
    def of(cls, manifest: dict[str, Any], key: Key) -> "Undo":
        """Rebuild the steps of an export.

        Raises:
            NotInvertibleError: they cannot be undone.
            ExportError: they are not known well enough.
        """
        split, plain = manifest.get("split"), manifest["plain"]
        pipeline = from_description(manifest["transform"], key)
        for disguise in pipeline.disguises:
            disguise.require_invertible()
        return cls(
            pipeline,
            noise_key(key.subkey("noise", split), manifest["transform"]),
            key.subkey("id", split),
            key.labels if isinstance(key, KeyBundle) else None,
            getattr(torch, plain["dtype"]),
            plain["scale"],
        )

    def images(self, images: Tensor, ids: list[str]) -> Tensor:
        """Return plain images ``[N, C, H, W]`` of disguised ones, rounded if they are uint8."""
        noise = KeystreamNoise(self.noise_key, [bytes.fromhex(each) for each in ids])
        plain = self.pipeline.undo_batch(images, noise=noise, scale=self.scale)
        if self.dtype == torch.uint8 and plain.is_floating_point():
            plain = plain.round().clamp(0, 255)
        return plain.to(self.dtype)

    def label(self, written: Label) -> Label:
        """Return the plain label of one as written."""
        if self.labels is None or written is None:
            return written
        if isinstance(written, tuple):
            return tuple(sorted(self.labels.unmap(number) for number in written))
        return self.labels.unmap(written)

    def is_exact(self, identity: str, image: Tensor, original: Original) -> bool:
        """Return whether every pixel equals the source's, because ids are digests of the pixels."""
        return sample_id(self.id_key, original.name, original.place, image.contiguous()).hex() == identity


def may_be_inexact(manifest: dict[str, Any]) -> bool:
    """Return whether an export holds images that cannot be restored exactly, by its settings."""
    steps = manifest["transform"]
    ill_conditioned = any(step.get("matrix", "orthogonal") != "orthogonal" for step in steps)
    damaged = any(step["name"] == "SaltAndPepper" for step in steps)
    return damaged or (manifest.get("store") is not None and ill_conditioned)
