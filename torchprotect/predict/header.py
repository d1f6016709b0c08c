"""The description of a network in its model file: how pictures become its input, and what its answers mean."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torchprotect._inputs import per_channel, require_int
from torchprotect.data import Recipe, Shape
from torchprotect.errors import ModelFileError, ProtectError
from torchprotect.predict._input import CHECKED
from torchprotect.predict._structure import MatchedStructure

MATCHED_CLAIM = "none: the weights contain the key"
_MOST_CLASSES, _LONGEST_SIDE, _MOST_NUMBERS, _LARGEST_NUMBER = 1_000_000, 1 << 16, 1 << 12, 1e30


@dataclass(frozen=True, kw_only=True)
class ModelHeader:
    """The description of a network in its model file. Everything in it is public.

    Attributes:
        recipe: how pictures become disguised images.
        mean, std: normalisation of disguised images after division by the recipe's scale: one number, or one per
            channel.
        shape: shape of an image.
        classes: number of scores that the network returns.
        check: the first scores of the network for a fixed input; they detect another architecture with the same
            weights.
        several_labels: whether an image may have several labels, so that scores are independent of each other.
        plain_labels: whether the network answers with plain class numbers although the key may rename classes.
        matched: what was replaced in a network that was matched to the key; ``None`` for any other network.
    """

    recipe: Recipe
    mean: tuple[float, ...]
    std: tuple[float, ...]
    shape: Shape
    classes: int
    check: tuple[float, ...]
    several_labels: bool = False
    plain_labels: bool = False
    matched: MatchedStructure | None = None

    @property
    def security_claim(self) -> str:
        """``"obfuscation"``; or no claim for a network whose weights contain the key."""
        return "obfuscation" if self.matched is None else MATCHED_CLAIM

    def describe(self) -> dict[str, Any]:
        """Return the header as JSON-compatible values."""
        return {
            "check": list(self.check),
            "classes": self.classes,
            "matched": None if self.matched is None else self.matched.describe(),
            "mean": list(self.mean),
            "plain_labels": self.plain_labels,
            "recipe": self.recipe.describe(),
            "several_labels": self.several_labels,
            "shape": list(self.shape),
            "std": list(self.std),
        }

    @classmethod
    def from_description(cls, described: Mapping[str, Any], path: str) -> "ModelHeader":
        """Make a header from the result of :meth:`describe`, which may come from an untrusted file.

        Raises:
            ModelFileError: the description is not one of a model file.
        """
        if wrong := [name for name, fits in _MEMBERS.items() if not fits(described.get(name))]:
            raise ModelFileError(f"{path} is damaged: its header lacks or has a wrong {', '.join(wrong)}")
        try:
            for side in described["shape"]:
                require_int("a side of the shape", side, at_least=1, at_most=_LONGEST_SIDE)
            require_int("classes", described["classes"], at_least=1, at_most=_MOST_CLASSES)
            matched, recipe = described["matched"], Recipe.from_description(described["recipe"])
            _require_shape(described, recipe)
            return cls(
                recipe=recipe,
                mean=tuple(described["mean"]),
                std=tuple(described["std"]),
                shape=Shape(*described["shape"]),
                classes=described["classes"],
                check=tuple(described["check"]),
                several_labels=described["several_labels"],
                plain_labels=described["plain_labels"],
                matched=None if matched is None else MatchedStructure.from_description(matched),
            )
        except (ProtectError, KeyError, TypeError, ValueError, OverflowError) as error:
            raise ModelFileError(f"{path} is damaged: {error}") from None


def _require_shape(described: Mapping[str, Any], recipe: Recipe) -> None:
    """Check that images have the size of the disguise, and that the normalisation fits their channels."""
    channels, *size = described["shape"]
    stated = recipe.transform[-1].get("image_size")
    if stated != size:
        raise ValueError(f"the images have the shape {described['shape']}, but the disguise makes {stated}")
    for name in ("mean", "std"):
        per_channel(name, described[name], channels)


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and 0 < len(value) <= _MOST_NUMBERS and all(map(_is_number, value))


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < _LARGEST_NUMBER


_MEMBERS: dict[str, Callable[[Any], bool]] = {
    "check": lambda value: _are_numbers(value) and len(value) <= CHECKED,
    "classes": lambda value: type(value) is int,
    "matched": lambda value: value is None or isinstance(value, dict),
    "mean": _are_numbers,
    "plain_labels": lambda value: isinstance(value, bool),
    "recipe": lambda value: isinstance(value, dict),
    "several_labels": lambda value: isinstance(value, bool),
    "shape": lambda value: isinstance(value, list) and len(value) == 3,
    "std": lambda value: _are_numbers(value) and all(each > 0 for each in value),
}
