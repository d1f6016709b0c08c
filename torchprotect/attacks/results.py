"""What every attack returns: at which knowledge, at what cost, and a form that can be written down."""

import dataclasses
import enum
import json
import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor


class Level(enum.Enum):
    """What an attacker knows; each level includes those before it."""

    CIPHERTEXT_ONLY = "L0"
    PUBLIC_DATA = "L1"  # also data from the same domain, and the algorithm
    KNOWN_PAIRS = "L2"
    CHOSEN_PLAINTEXT = "L3"
    PARTIAL_KEY = "L4"


@dataclass(frozen=True, eq=False)
class AttackResult:
    """Base of all results.

    Attributes:
        level: what the attacker was given.
        cost: what it took, such as ``{"trials": 100, "passes": 2000}``; the docstring of each attack names the entries.
    """

    level: Level
    cost: dict[str, int]

    def to_json(self) -> str:
        """Return the fields as JSON: tensors as nested lists, NaN and infinity as ``null``.

        Images are left out, and fields with ``metadata={"json": False}``.
        """
        told = [each.name for each in dataclasses.fields(self) if each.metadata.get("json", each.name != "images")]
        return json.dumps({name: _plain(getattr(self, name)) for name in told}, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return _plain(value.tolist())
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(name): _plain(each) for name, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


@dataclass(frozen=True, eq=False)
class Reconstruction(AttackResult):
    """Images rebuilt by an attack.

    Attributes:
        images: ``[N, C, H, W]``, in the dtype and on the scale of the plain images the attacker was given.
    """

    images: Tensor


@dataclass(frozen=True, eq=False)
class ClassGuesses(AttackResult):
    """A class guessed for each image.

    Attributes:
        guesses: int64 ``[N]``.
    """

    guesses: Tensor


@dataclass(frozen=True, eq=False)
class LinkageResult(AttackResult):
    """Known plain images looked up among disguised ones.

    Attributes:
        guesses: int64 ``[N, k]``: for each known image, indices of disguised ones, best first.
        distances: float32 ``[N, k]``: of the guesses; smaller is closer.
    """

    guesses: Tensor
    distances: Tensor


@dataclass(frozen=True, eq=False)
class PermutationResult(AttackResult):
    """An order of blocks recovered.

    Attributes:
        guesses: int64 ``[positions]``: the original block that lies at each place, as a permutation key's ``order``.
        margins: float32 ``[positions]``: by how much each guess is better than the best other block at that place;
            0 is a tie.
    """

    guesses: Tensor
    margins: Tensor
