"""Results of attacks: each has the attacker level, the cost, and a JSON form."""

import dataclasses
import enum
import functools
import json
import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from torchprotect.errors import InputTypeError

_FEW = 8  # measured numbers in a list that a repr shows


@functools.total_ordering
class Level(enum.Enum):
    """Attacker level, by knowledge. Each level includes all lower ones: ``PUBLIC_DATA < KNOWN_PAIRS``.

    * L0, ``CIPHERTEXT_ONLY``: the disguised images, the algorithm and all public settings.
    * L1, ``PUBLIC_DATA``: also public images of the same domain.
    * L2, ``KNOWN_PAIRS``: also known pairs of a plain and its disguised image.
    * L3, ``CHOSEN_PLAINTEXT``: disguised versions of images of the attacker's choice.
    * L4, ``PARTIAL_KEY``: a part of the key.
    """

    CIPHERTEXT_ONLY = "L0"
    PUBLIC_DATA = "L1"
    KNOWN_PAIRS = "L2"
    CHOSEN_PLAINTEXT = "L3"
    PARTIAL_KEY = "L4"

    @property
    def rank(self) -> int:
        """Number of lower levels."""
        return list(Level).index(self)

    def __lt__(self, other: Any) -> bool:
        """Return whether an attacker of the other level knows more."""
        return self.rank < other.rank if isinstance(other, Level) else NotImplemented


@dataclass(frozen=True, eq=False, repr=False)
class AttackResult:
    """Base class of all results.

    Attributes:
        level: what the attacker knew.
        cost: what the attack took, such as ``{"trials": 100, "passes": 2000}``; the docstring of each attack explains
            the entries.
    """

    level: Level
    cost: dict[str, int]

    def __repr__(self) -> str:
        """Show numbers as they are; of tensors and lists, only the sizes."""
        told = (f"{each.name}={_short(getattr(self, each.name))}" for each in dataclasses.fields(self))
        return f"{type(self).__name__}({', '.join(told)})"

    def to_json(self) -> str:
        """Return the fields as JSON: tensors as nested lists, NaN and infinity as ``null``.

        Images, and fields with ``metadata={"json": False}``, are left out.
        """
        told = [each.name for each in dataclasses.fields(self) if each.metadata.get("json", each.name != "images")]
        return json.dumps({name: as_json(getattr(self, name)) for name in told}, allow_nan=False)


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, enum.Enum):
        return str(value.value)
    if isinstance(value, list | tuple):
        few = len(value) <= _FEW and all(isinstance(each, float) for each in value)
        return f"[{', '.join(f'{each:.4g}' for each in value)}]" if few else f"{len(value)} entries"
    return repr(value)


def as_json(value: Any) -> Any:
    """Return a value in JSON form: tensors as nested lists, NaN and infinity as ``None``."""
    if isinstance(value, Tensor):
        return as_json(value.tolist())
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(name): as_json(each) for name, each in value.items()}
    return [as_json(each) for each in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, eq=False, repr=False)
class Reconstruction(AttackResult):
    """Images rebuilt by an attack.

    Attributes:
        images: ``[N, C, H, W]``, in the dtype and on the scale of the plain images the attacker was given.
    """

    images: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class ClassGuesses(AttackResult):
    """One guessed class for each image.

    Attributes:
        guesses: int64 ``[N]``.
    """

    guesses: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class LinkageResult(AttackResult):
    """Known plain images, with the disguised ones most likely to be theirs.

    Attributes:
        guesses: int64 ``[N, k]``: for each known image, indices of disguised ones, best first.
        distances: float32 ``[N, k]``: distances of the guesses; smaller is closer.
    """

    guesses: Tensor
    distances: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class PermutationResult(AttackResult):
    """A recovered block order.

    Attributes:
        guesses: int64 ``[positions]``: the original block at each position, like the ``order`` of a permutation key.
        margins: float32 ``[positions]``: how much better each guess is than the next best block at that position; 0 is
            a tie.
    """

    guesses: Tensor
    margins: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class StatisticsResult(PermutationResult):
    """A block order recovered from statistics, which hardly distinguish an image from its mirror image.

    Attributes:
        mirrored: int64 ``[positions]``: the order to use if the guesses give images that are mirrored left to right.
    """

    mirrored: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class LayoutResult(PermutationResult):
    """A recovered block order, and images restored with it.

    Attributes:
        images: ``[N, C, H, W]``, the disguised images with their blocks in the original order.
    """

    images: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class CorrespondenceResult(AttackResult):
    """A guess of the classes that the images of each class were perturbed toward.

    Attributes:
        guesses: int64 ``[classes, targets]``.
        scores: float64 ``[classes, candidates]``, higher is likelier. A candidate is a class or, if two targets are
            enumerated, the pair ``(candidate // classes, candidate % classes)``. NaN for a candidate that is not
            considered.
        ranking: int64 ``[classes, considered]``, candidates by score, best first, ties by number.
        margins: ``[classes]``, how far the guess is ahead of the best candidate that was not guessed; 0 for a tie.
    """

    guesses: Tensor
    scores: Tensor
    ranking: Tensor
    margins: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class ReadingResult(CorrespondenceResult):
    """A correspondence read from a classifier's mistakes; the guesses are the first candidates of the ranking.

    Attributes:
        confusion: float64 ``[classes, classes]``: for each label (row), the share of its images that the classifier
            assigns to each class (column).
    """

    confusion: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class NetworkResult(AttackResult):
    """Accuracy of a network trained on released images, tested on the attacker's own plain images.

    Attributes:
        accuracy: share of the test images classified correctly after the best epoch.
        last: the same after the last epoch: what an attacker gets who does not know when to stop.
        chance: share of the most frequent class among them.
        count: number of test images.
    """

    accuracy: float
    last: float
    chance: float
    count: int


@dataclass(frozen=True, eq=False, repr=False)
class ReleasedImages(AttackResult):
    """The released images themselves, for comparisons among each other.

    Attributes:
        released: ``[N, C, H, W]``.
    """

    released: Tensor = field(metadata={"json": False})


def images_of(result: AttackResult) -> Tensor:
    """Return the images that an attack has rebuilt.

    Raises:
        InputTypeError: the result has none.
    """
    images = getattr(result, "images", None)
    if not isinstance(images, Tensor):
        raise InputTypeError(f"a result with rebuilt images is needed; {type(result).__name__} has none")
    return images


def facts_of(result: AttackResult) -> dict[str, Any]:
    """Return the fields of a result's JSON that are specific to it: all except level and cost."""
    told: dict[str, Any] = json.loads(result.to_json())
    return {name: value for name, value in told.items() if name not in ("level", "cost")}
