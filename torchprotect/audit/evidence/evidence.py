"""The evidence of an audit: disguised images, and what the owner knows about them."""

import functools
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from torchprotect._inputs import require_tensor
from torchprotect.attacks import Scheme
from torchprotect.attacks.protocol import Files
from torchprotect.attacks.scores.identities import identities
from torchprotect.errors import InputRangeError, InputShapeError

LEAST_IMAGES = 20
"""With fewer images, intervals are too wide to be useful."""


@dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """Disguised images, and what their owner knows about them. Each attack receives the parts that its level allows.

    :func:`open_evidence` makes it from an export. You can also make it from your own tensors, for example as a control.

    Attributes:
        disguised: ``[N, C, H, W]``, uint8 or floating point.
        scheme: public parameters of the disguise.
        labels: int64 ``[N]``, class numbers as written; ``None`` if there are none.
        plain: ``[M, C, H, W]``, uint8 or floating point in 0..1; ``None`` if there are none.
        plain_labels: int64 ``[M]``; ``None`` if there are none.
        pairing: int64 ``[N]``: index of the plain image of each disguised one; ``None`` if unknown.
        order: int64 ``[positions]``, the true order of the blocks, for scores; ``None`` if unknown.
        correspondence: int64 ``[classes, targets]``, the classes that the images of each class were perturbed toward,
            for scores; ``None`` if unknown.
        label_map: int64 ``[classes]``, the number written for each plain class; ``None`` if classes are not renamed, or
            the map is unknown.
        folder: folder of the export; for an export at a URL, its files by name, each with a function that opens it for
            reading; ``None`` without an export.
        about: facts for the report, such as digests.
    """

    disguised: Tensor
    scheme: Scheme
    labels: Tensor | None = None
    plain: Tensor | None = None
    plain_labels: Tensor | None = None
    pairing: Tensor | None = None
    order: Tensor | None = None
    correspondence: Tensor | None = None
    label_map: Tensor | None = None
    folder: Path | Files | None = None
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.disguised)
        if self.disguised.ndim != 4 or count < LEAST_IMAGES:
            raise InputRangeError(
                f"at least {LEAST_IMAGES} disguised images [N, C, H, W] are needed, not {list(self.disguised.shape)}"
            )
        _require_length("labels", self.labels, count)
        _require_length("pairing", self.pairing, count)
        if self.plain is None and (self.plain_labels is not None or self.pairing is not None):
            raise InputShapeError("plain_labels and pairing were given without plain images")
        if self.plain is not None:
            _require_length("plain_labels", self.plain_labels, len(self.plain))
            if self.pairing is not None and not 0 <= int(self.pairing.min()) <= int(self.pairing.max()) < len(
                self.plain
            ):
                raise InputShapeError(f"pairing points outside the {len(self.plain)} plain images")

    def __repr__(self) -> str:
        plain = "no" if self.plain is None else len(self.plain)
        paired = "not paired" if self.pairing is None else "paired"
        return f"Evidence({self.scheme.name}, {len(self.disguised)} disguised images, {plain} plain ones, {paired})"

    @property
    def classes(self) -> int:
        """Number of outputs that a network needs: one more than the largest class number; 0 without labels."""
        known = [int(each.max()) + 1 for each in (self.plain_labels, self.labels) if each is not None]
        return max(known, default=0)

    @property
    def classes_present(self) -> int:
        """Number of different classes among the plain labels or among the labels as written, whichever is larger."""
        known = [len(each.unique()) for each in (self.plain_labels, self.labels) if each is not None]
        return max(known, default=0)

    @functools.cached_property
    def identities(self) -> Tensor:
        """A number for each plain image, equal for equal images: int64 ``[M]`` on the CPU; empty without any.

        Images are equal if all their pixels are.
        """
        return torch.empty(0, dtype=torch.int64) if self.plain is None else identities(self.plain)

    @property
    def paired(self) -> Tensor:
        """The pairing.

        Raises:
            InputShapeError: it is unknown.
        """
        if self.pairing is None:
            raise InputShapeError("which plain image belongs to which disguised one is not known: give the key")
        return self.pairing

    @property
    def duplicates(self) -> int:
        """Number of plain images that equal an earlier one."""
        return len(self.identities) - len(self.identities.unique())

    @property
    def digest(self) -> str:
        """SHA-256 of everything, 64 hex digits: identifies which audit an unfinished one belongs to."""
        found = hashlib.sha256(repr(self.scheme).encode())
        for each in (
            self.disguised,
            self.labels,
            self.plain,
            self.plain_labels,
            self.pairing,
            self.order,
            self.correspondence,
            self.label_map,
        ):
            found.update(b"-" if each is None else tensor_digest(each).encode())
        return found.hexdigest()


def tensor_digest(tensor: Tensor) -> str:
    """Return the SHA-256 of dtype, shape and values, 64 hex digits."""
    found = hashlib.sha256(f"{tensor.dtype}{list(tensor.shape)}".encode())
    found.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _require_length(name: str, values: Tensor | None, count: int) -> None:
    if values is not None:
        require_tensor(name, values)
    if values is not None and (values.shape != (count,) or values.dtype != torch.int64):
        raise InputShapeError(f"{name} must be int64 [{count}], not {values.dtype} {list(values.shape)}")
    if values is not None and bool((values < 0).any()):
        raise InputRangeError(f"{name} must be numbers from 0 up, got {int(values.min())}")
