"""What every attack returns: at which knowledge, at what cost, and a JSON form."""

import dataclasses
import enum
import functools
import json
import math
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from torchprotect.errors import InputTypeError


@functools.total_ordering
class Level(enum.Enum):
    """What an attacker knows; each level includes those before it, which are less: ``PUBLIC_DATA < KNOWN_PAIRS``."""

    CIPHERTEXT_ONLY = "L0"
    PUBLIC_DATA = "L1"  # also data from the same domain, and the algorithm
    KNOWN_PAIRS = "L2"
    CHOSEN_PLAINTEXT = "L3"
    PARTIAL_KEY = "L4"

    @property
    def rank(self) -> int:
        """How many levels lie below."""
        return list(Level).index(self)

    def __lt__(self, other: Any) -> bool:
        """Say whether an attacker of the other level knows more."""
        return self.rank < other.rank if isinstance(other, Level) else NotImplemented


@dataclass(frozen=True, eq=False, repr=False)
class AttackResult:
    """Base of all results.

    Attributes:
        level: what the attacker was given.
        cost: what it took, such as ``{"trials": 100, "passes": 2000}``; the docstring of each attack names the entries.
    """

    level: Level
    cost: dict[str, int]

    def __repr__(self) -> str:
        """Show numbers as they are, and of tensors and lists the sizes alone."""
        told = (f"{each.name}={_short(getattr(self, each.name))}" for each in dataclasses.fields(self))
        return f"{type(self).__name__}({', '.join(told)})"

    def to_json(self) -> str:
        """Return the fields as JSON: tensors as nested lists, NaN and infinity as ``null``.

        Images are left out, and fields with ``metadata={"json": False}``.
        """
        told = [each.name for each in dataclasses.fields(self) if each.metadata.get("json", each.name != "images")]
        return json.dumps({name: as_json(getattr(self, name)) for name in told}, allow_nan=False)


def _short(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
    if isinstance(value, enum.Enum):
        return str(value.value)
    return f"{len(value)} entries" if isinstance(value, list | tuple) else repr(value)


def as_json(value: Any) -> Any:
    """Return a value as JSON has it: tensors as nested lists, NaN and infinity as ``None``."""
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
    """A class guessed for each image.

    Attributes:
        guesses: int64 ``[N]``.
    """

    guesses: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class LinkageResult(AttackResult):
    """Known plain images looked up among disguised ones.

    Attributes:
        guesses: int64 ``[N, k]``: for each known image, indices of disguised ones, best first.
        distances: float32 ``[N, k]``: of the guesses; smaller is closer.
    """

    guesses: Tensor
    distances: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class PermutationResult(AttackResult):
    """An order of blocks recovered.

    Attributes:
        guesses: int64 ``[positions]``: the original block that lies at each position, as a permutation key's ``order``.
        margins: float32 ``[positions]``: by how much each guess is better than the best other block at that position;
            0 is a tie.
    """

    guesses: Tensor
    margins: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class StatisticsResult(PermutationResult):
    """An order of blocks recovered by statistics, which can hardly tell an image from its mirror image.

    Attributes:
        mirrored: int64 ``[positions]``: the order if all images come out mirrored left to right by the guesses.
    """

    mirrored: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class LayoutResult(PermutationResult):
    """An order of blocks, and images opened with it.

    Attributes:
        images: ``[N, C, H, W]``, the disguised images with their blocks in the original order.
    """

    images: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class CorrespondenceResult(AttackResult):
    """A guess at the classes that the images of each class were led to.

    Attributes:
        guesses: int64 ``[classes, targets]``.
        scores: float64 ``[classes, candidates]``, higher is likelier. A candidate is a class or, where two targets are
            enumerated, the pair ``(candidate // classes, candidate % classes)``. NaN for one that is not considered.
        ranking: int64 ``[classes, considered]``, candidates by score, best first, ties by number.
        margins: ``[classes]``, how far the guess is ahead of what was not guessed; 0 for a tie.
    """

    guesses: Tensor
    scores: Tensor
    ranking: Tensor
    margins: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class ReadingResult(CorrespondenceResult):
    """What a reading found; ``targets`` guesses are the first ones of the ranking.

    Attributes:
        confusion: float64 ``[classes, classes]``, row: the label, column: the share of its images that the classifier
            gives each class.
    """

    confusion: Tensor


@dataclass(frozen=True, eq=False, repr=False)
class NetworkResult(AttackResult):
    """A network trained on released images, tested on the attacker's own plain images.

    Attributes:
        accuracy: share of these that it names right, after its best epoch.
        last: the same after its last epoch: what an attacker gets who does not know when to stop.
        chance: share of the most frequent class among them.
        count: how many there are.
    """

    accuracy: float
    last: float
    chance: float
    count: int


@dataclass(frozen=True, eq=False, repr=False)
class ReleasedImages(AttackResult):
    """Images as they were released, for those who compare them with each other.

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
    """Return the fields of a result's JSON that are its own: all but level and cost."""
    told: dict[str, Any] = json.loads(result.to_json())
    return {name: value for name, value in told.items() if name not in ("level", "cost")}
