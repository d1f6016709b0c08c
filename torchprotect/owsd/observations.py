"""Embeddings and cloud answers of images, and the accuracy of predictions from them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchprotect._inputs import require_tensor
from torchprotect.errors import InputRangeError, InputShapeError

INPUTS = ("both", "embedding", "cloud")
"""Inputs of a network: embedding and cloud vector, or one of them alone as an ablation."""


@dataclass(frozen=True, eq=False)
class Observations:
    """Embeddings of images, and the cloud's answers to their scrambled versions.

    Attributes:
        embeddings: float32 ``[N, E]``, embeddings of all encoders concatenated.
        vectors: float32 ``[N, V]``, the cloud's answers for all encoders and keys concatenated.
        keys: fingerprints of the keys that the images were scrambled with, in order; may be empty.
    """

    embeddings: Tensor
    vectors: Tensor
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require_tensor("embeddings", self.embeddings)
        require_tensor("vectors", self.vectors)
        if self.embeddings.ndim != 2 or self.vectors.ndim != 2 or len(self.embeddings) != len(self.vectors):
            raise InputShapeError(
                "embeddings [N, E] and vectors [N, V] of the same images are needed, not "
                f"{list(self.embeddings.shape)} and {list(self.vectors.shape)}"
            )
        for name, tensor in (("embeddings", self.embeddings), ("vectors", self.vectors)):
            if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
                raise InputRangeError(f"{name} must be finite floating-point numbers")

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, which: Any) -> "Observations":
        return Observations(self.embeddings[which], self.vectors[which], self.keys)

    def given(self, inputs: str) -> Tensor:
        """Return the input of a network for one of :data:`INPUTS`, float32."""
        parts = {"both": (self.embeddings, self.vectors), "embedding": (self.embeddings,), "cloud": (self.vectors,)}
        return torch.cat(parts[inputs], 1).float()


@dataclass(frozen=True)
class Evaluation:
    """Accuracies by the input of the network, including the two ablations.

    Attributes:
        images: number of images.
        classes: number of classes; with five or fewer, ``top5`` is trivial.
        top1: fraction of images whose label is the first guess, for each of :data:`INPUTS`.
        top5: fraction of images whose label is among the first five guesses.
    """

    images: int
    classes: int
    top1: Mapping[str, float]
    top5: Mapping[str, float]

    def __str__(self) -> str:
        shown = {"both": "embedding and cloud", "embedding": "embedding only", "cloud": "cloud only"}
        five = {name: f"{self.top5[name]:.1%}" if self.classes > 5 else "-" for name in INPUTS}
        rows = [f"  {shown[name]:<20}{self.top1[name]:>7.1%}{five[name]:>8}" for name in INPUTS]
        return "\n".join([f"{self.images:,} images{'top-1':>20}{'top-5':>8}", *rows])
