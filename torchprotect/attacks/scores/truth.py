"""Knowledge that scores have and attacks never get."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from torchprotect.attacks.measures import Measure
from torchprotect.attacks.results import AttackResult, ClassGuesses
from torchprotect.errors import InputRangeError, InputTypeError

OnPlain = Callable[[int], tuple[tuple[float, str], tuple[float, str]]]
"""Takes a number n; returns the best result on the plain versions of the first n images, and the method that reached
it: once as a share of all images, once as the mean of the classes' shares."""

REQUIRABLE = ("labels", "images", "identities", "known", "order", "correspondence", "embed")
"""Fields of :class:`Truth` that a score may require."""


@dataclass(frozen=True, eq=False, repr=False)
class Truth:
    """What the owner of the disguised images knows. Tensors are about the attacked images, in their order.

    N is the number of all attacked images, T that of the first ones, which attacks rebuild: ``seen.targets``.

    Attributes:
        generator: takes a purpose, and returns a seeded generator on the CPU for it.
        classes: number of classes; 0 without labels.
        labels: int64 ``[N]``, the class of each image; ``None`` if unknown.
        renamed: whether the labels are under an unknown renaming of the classes.
        on_plain: upper bounds for guessed classes, reached on plain images.
        images: ``[T, C, H, W]``, the plain image of each target; ``None`` if unknown.
        identities: int64 ``[N]``, equal numbers for images whose plain ones are equal.
        known: int64 ``[K]``: for each image of ``seen.known``, the index of its disguised one.
        order: int64 ``[positions]``, the true order of the blocks.
        correspondence: int64 ``[classes, targets]``, the classes that the images of each class were perturbed toward.
        examiner: guesses the class of rebuilt images, in place of a person who looks at them.
        embed: returns embeddings of plain images, floating point ``[N, E]``.
    """

    generator: Callable[[str], torch.Generator]
    classes: int = 0
    labels: Tensor | None = None
    renamed: bool = False
    on_plain: OnPlain | None = None
    images: Tensor | None = None
    identities: Tensor | None = None
    known: Tensor | None = None
    order: Tensor | None = None
    correspondence: Tensor | None = None
    examiner: Callable[[Tensor], ClassGuesses] | None = None
    embed: Callable[[Tensor], Tensor] | None = None


@dataclass(frozen=True)
class Score:
    """How the result of an attack is compared with the truth.

    Attributes:
        needs: what the score requires of :class:`Truth`: ``labels``, ``images``, ``identities``, ``known``, ``order``,
            ``correspondence`` or ``embed``. An audit that does not know it leaves the attack out, and says so.
        measure: takes a result and the truth, and returns measures; the first one is the headline if none has a scale.
        result: kind of results that it applies to.
        align: takes a result and the truth, and returns the result to measure and show. For attacks that leave open
            what one look at the pictures settles, such as a mirror image.

    Raises:
        InputTypeError: an attribute has another type.
        InputRangeError: a score cannot require this.
    """

    needs: tuple[str, ...]
    measure: Callable[[Any, Truth], tuple[Measure, ...]]
    result: type[AttackResult] = AttackResult
    align: Callable[[Any, Truth], Any] = lambda result, truth: result

    def __post_init__(self) -> None:
        """Check it when it is made; otherwise an audit would find the mistake only after all other work."""
        if not isinstance(self.needs, tuple) or not callable(self.measure) or not callable(self.align):
            raise InputTypeError("a score has needs in a tuple, and functions to measure and to align a result")
        if unknown := set(self.needs) - set(REQUIRABLE):
            raise InputRangeError(f"needs of a score must be among {REQUIRABLE}, got {sorted(unknown)}")


NOTHING = Score((), lambda result, truth: ())
"""Scores nothing. For attacks that count or read instead of guessing: their ``facts`` say what they found."""
