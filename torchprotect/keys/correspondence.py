"""The secret map from each class to the target classes that its images are perturbed toward."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from torchprotect._inputs import require_int, require_tensor
from torchprotect._mix_modes import MIX_MODES, MIXED_VERSIONS
from torchprotect.errors import InputRangeError, InputTypeError, KeyFileError
from torchprotect.keys._base import Key, require_class_numbers, require_key_tensor, require_root
from torchprotect.keys._random import random_bytes, random_permutation
from torchprotect.keys._secret import secret_fields

_MAX_TARGETS = 8
_PRESETS: dict[str, tuple[str, list[list[int]]]] = {
    # Hu et al., Adversarial Data Encryption: sections 3.3, 4 (Tables 4 and 6) and 5. Row k has the k-th targets
    "basic": ("concat", [[8, 3, 1, 0, 2, 4, 9, 6, 7, 5]]),
    "horizontal-concat": ("concat", [[8, 3, 1, 0, 2, 4, 9, 6, 7, 5], [4, 2, 3, 5, 7, 1, 8, 0, 6, 9]]),
    "mixup-and-concat": (
        "mixup-and-concat",
        [
            [8, 3, 1, 0, 2, 4, 9, 6, 7, 5],
            [4, 2, 3, 5, 7, 1, 8, 0, 6, 9],
            [6, 2, 9, 1, 0, 7, 5, 3, 4, 8],
            [3, 9, 6, 1, 5, 8, 4, 7, 0, 2],
        ],
    ),
    "mri": ("concat", [[1, 2, 3, 4, 0], [3, 4, 0, 1, 2]]),
}
_PRESET_WEIGHTS = {"mixup-and-concat": [0.2, 0.3, 0.3, 0.2]}  # 40 : 60 on the left, 60 : 40 on the right


@secret_fields("targets", "weights", "root")
@dataclass(frozen=True, eq=False, repr=False)
class CorrespondenceKey(Key):
    """A secret map from each class to the target classes that its images are perturbed toward.

    Attributes:
        targets: int64 ``[classes, K]``; a class with fewer than ``K`` targets repeats its first one.
        weights: float32 ``[classes, K]``, non-negative; each row sums to 1. The weight is 0 where a class has no K-th
            target.
        mix_mode: how the versions of an image, one for each target, are combined: one of ``adversarial.MIX_MODES``.
        root: uint8 ``[32]``, from which sub-keys are derived. It enters the fingerprint, so that a small map cannot
            be guessed from the fingerprint by trying all maps.
    """

    kind: ClassVar[str] = "correspondence"
    targets: Tensor
    weights: Tensor
    mix_mode: str
    root: Tensor

    def __post_init__(self) -> None:
        require_root(self.root)
        if self.targets.ndim != 2 or self.classes < 2 or not 1 <= self.targets.shape[1] <= _MAX_TARGETS:
            raise KeyFileError(f"a correspondence has at least 2 classes and 1 to {_MAX_TARGETS} targets for each")
        shape = tuple(self.targets.shape)
        require_key_tensor("targets", self.targets, torch.int64, shape)
        require_key_tensor("shares", self.weights, torch.float32, shape)
        if int(self.targets.min()) < 0 or int(self.targets.max()) >= self.classes:
            raise KeyFileError(f"a target of the correspondence lies outside 0..{self.classes - 1}")
        if not bool((self.weights >= 0).all() and ((self.weights.sum(1) - 1).abs() < 1e-5).all()):
            raise KeyFileError("the weights of each class must be non-negative and sum to 1")
        if self.mix_mode not in MIX_MODES:
            raise KeyFileError(f"mix_mode must be one of {MIX_MODES}, got {self.mix_mode!r}")
        if shape[1] > 1 and shape[1] != MIXED_VERSIONS.get(self.mix_mode, shape[1]):
            raise KeyFileError(f"{self.mix_mode} mixes {MIXED_VERSIONS[self.mix_mode]} targets, not {shape[1]}")

    @classmethod
    def generate(
        cls,
        *,
        classes: int,
        targets: int | Sequence[int] = 1,
        mix_mode: str = "concat",
        weights: Sequence[Sequence[float]] | None = None,
    ) -> "CorrespondenceKey":
        """Generate a random map from the operating system's entropy.

        The first targets are a uniformly random derangement: each class is the first target of exactly one other class,
        and no class is its own. Further targets of a class are drawn from the remaining classes, independently of other
        classes.

        Args:
            classes: number of classes.
            targets: number of targets: one number for all classes, or one for each.
            mix_mode: how the versions of an image are combined, see :func:`torchprotect.adversarial.combine`.
            weights: one row for each class, with the weight of each of its targets; equal weights when ``None``.

        Raises:
            InputRangeError: the numbers do not make a valid map.
            InputTypeError: targets or weights are not numbers.
        """
        counts = _counts(classes, targets)
        first: list[int] = _derangement(classes).tolist()
        rows = [[t, *_further_targets(label, t, counts[label] - 1, classes)] for label, t in enumerate(first)]
        return cls.from_map(rows, mix_mode=mix_mode, weights=weights)

    @classmethod
    def from_map(
        cls,
        targets: Sequence[Sequence[int]],
        *,
        mix_mode: str = "concat",
        weights: Sequence[Sequence[float]] | None = None,
    ) -> "CorrespondenceKey":
        """Make a key from a given map: one row for each class, with 1 to 8 target classes.

        Raises:
            InputRangeError: a target is not a class, or the numbers do not make a valid map.
            InputTypeError: a class has no row of targets, or weights are not numbers.
        """
        if any(not isinstance(row, Sequence) for row in targets):
            raise InputTypeError("a map must have a row of targets for each class, such as [[1, 2], [2], [0, 1]]")
        counts = [len(row) for row in targets]
        if len(counts) < 2 or min(counts) < 1 or max(counts) > _MAX_TARGETS:
            raise InputRangeError(f"a map has at least 2 classes, each with 1 to {_MAX_TARGETS} targets")
        for target in itertools.chain(*targets):
            require_int("each target", target, at_least=0, at_most=len(counts) - 1)
        table = torch.tensor([[*row, *[row[0]] * (max(counts) - len(row))] for row in targets])
        return cls._checked(table, _weights(counts, weights), mix_mode)

    @classmethod
    def preset(cls, name: str) -> "CorrespondenceKey":
        """Make a key from a published map. Everybody knows these maps: use them only to reproduce the paper.

        Args:
            name: ``"basic"`` (section 3.3 of the paper), ``"horizontal-concat"`` (Table 4) or ``"mixup-and-concat"``
                (Table 6), each for 10 classes; or ``"mri"`` (section 5), for 5 classes.

        References:
            Hu et al., Adversarial Data Encryption.
        """
        if name not in _PRESETS:
            raise InputRangeError(f"name must be one of {sorted(_PRESETS)}, got {name!r}")
        mix_mode, rows = _PRESETS[name]
        weights = [_PRESET_WEIGHTS[name]] * len(rows[0]) if name in _PRESET_WEIGHTS else None
        return cls.from_map(list(zip(*rows, strict=True)), mix_mode=mix_mode, weights=weights)

    @classmethod
    def _checked(cls, targets: Tensor, weights: Tensor, mix_mode: str) -> "CorrespondenceKey":
        try:
            return cls(targets, weights, mix_mode, random_bytes(32))
        except KeyFileError as error:  # the same checks as for files, but these are arguments
            raise InputRangeError(str(error)) from None

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.targets)

    def of(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Look up the targets and weights of labels.

        Args:
            labels: integers ``[N]``.

        Returns:
            Targets, int64 ``[N, K]``, and weights, float32 ``[N, K]``, on the device of the labels.

        Raises:
            InputTypeError: the labels are not integers.
            LabelError: a label lies outside ``0..classes-1``.
        """
        require_tensor("labels", labels)
        require_class_numbers(labels, self.classes)
        index = labels.long()
        return self.on("targets", labels.device)[index], self.on("weights", labels.device)[index]

    @property
    def params(self) -> dict[str, Any]:
        """``classes``, ``targets`` (largest number for one class) and ``way`` (the mix mode, as files call it)."""
        return {"classes": self.classes, "targets": self.targets.shape[1], "way": self.mix_mode}

    def tensors(self) -> dict[str, Tensor]:
        """``targets``, ``shares`` (the weights, by their name in files), and ``root``."""
        return {"targets": self.targets, "shares": self.weights, "root": self.root}

    @classmethod
    def from_parts(cls, params: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "CorrespondenceKey":
        """Rebuild the key."""
        fields = dict(tensors)
        return cls(weights=fields.pop("shares"), mix_mode=params["way"], **fields)


def _counts(classes: int, targets: int | Sequence[int]) -> list[int]:
    require_int("classes", classes, at_least=2)
    if not isinstance(targets, int | Sequence):
        raise InputTypeError(f"targets must be an integer, or one integer for each class, got {targets!r}")
    counts = [targets] * classes if isinstance(targets, int) else list(targets)
    if len(counts) != classes:
        raise InputRangeError(f"targets must be one number, or one for each of {classes} classes, got {len(counts)}")
    most = min(classes - 1, _MAX_TARGETS)
    for count in counts:
        require_int("the number of targets of a class", count, at_least=1, at_most=most)
    return counts


def _weights(counts: list[int], weights: Sequence[Sequence[float]] | None) -> Tensor:
    """Return the weights, float32 ``[classes, K]``, with zeros where a class has no further target."""
    given = [[1 / count] * count for count in counts] if weights is None else weights
    if any(not isinstance(row, Sequence) or any(not isinstance(s, int | float) for s in row) for row in given):
        raise InputTypeError("weights must be a row of numbers for each class")
    rows = [list(row) for row in given]
    if [len(row) for row in rows] != counts:
        raise InputRangeError("weights must have one row for each class, with one number for each of its targets")
    most = max(counts)
    return torch.tensor([[*row, *[0.0] * (most - len(row))] for row in rows], dtype=torch.float32)


def _derangement(classes: int) -> Tensor:
    while True:  # about one in e permutations has no fixed point
        row = random_permutation(classes)
        if not bool((row == torch.arange(classes)).any()):
            return row


def _further_targets(label: int, first: int, count: int, classes: int) -> list[int]:
    """Draw ``count`` classes other than the label and its first target."""
    drawn: list[int] = random_permutation(classes).tolist()
    return [target for target in drawn if target not in (label, first)][:count]
