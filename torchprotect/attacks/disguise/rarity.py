"""Guess pictures and classes from the rarity of cipher units."""

from dataclasses import dataclass, replace
from typing import cast

import torch
from torch import Tensor, nn

from torchprotect.attacks._inputs import generator_on, like, require_labels
from torchprotect.attacks.disguise._blocks import undo_order
from torchprotect.attacks.disguise._preserved import Reading, count_equal, number_units
from torchprotect.attacks.disguise._random_features import RandomFeatureRidge
from torchprotect.attacks.disguise.permutation import order_or_statistics
from torchprotect.attacks.neighbours import joined
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import ClassGuesses, Level, Reconstruction
from torchprotect.attacks.scheme import Scheme, require_preserved
from torchprotect.attacks.scores import CLASSES, PICTURES
from torchprotect.errors import InputRangeError, InputTypeError

_LEAST_PUBLIC = 20
_MIXTURES = 64
_PIXELS_AT_ONCE = 1024  # of each image; bounds the memory


@dataclass(frozen=True, eq=False, repr=False)
class RarityResult(Reconstruction):
    """Images rebuilt, and classes guessed, from the rarity of cipher units.

    Attributes:
        guesses: int64 ``[M]``; ``None`` without labels.
        repeating_share: share of the disguised units that occur more than once at their position. Near 0, the attack
            has nothing to use, and rebuilds the mean of the public images.
    """

    guesses: Tensor | None
    repeating_share: float


def rarity_regression(
    public: Tensor,
    disguised: Tensor,
    *,
    scheme: Scheme,
    labels: Tensor | None = None,
    classes: int = 0,
    order: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> RarityResult:
    """Rebuild images, and guess their classes, from how rare their cipher units are: public data only (level L1).

    A stateless cipher preserves how frequent each unit is among the units at its position. The attacker counts the
    units of plain images of the same kind in the same way, and fits their pixels and classes to the logarithms of these
    shares, by ridge regression on random features; the penalty is chosen on held-out images. The fit is then applied to
    the shares of the disguised images. No key is guessed, and separate keys per position do not help. If all positions
    share a key, shares among the units of all positions are used too.

    Both sets must be so large that units repeat about as often in one as in the other: a few thousand images.

    Cost: ``public``, ``disguised`` (images), ``features`` (units per image).

    Args:
        public: plain images of the same kind, uint8 or floating point in 0..1, ``[N, C, H, W]``; at least 20.
        disguised: uint8 ``[M, C, H, W]``; shares are counted among them, so pass all available images.
        scheme: scheme of ``AESECBDisguise``.
        labels: labels of the public images, int64 ``[N]``; without them no class is guessed. A class that no public
            image has is never guessed.
        classes: number of classes; with labels only.
        order: int64 ``[positions]``, the original block at each position. If blocks are permuted, ``None`` recovers it
            by :func:`recover_permutation_from_statistics`.
        generator: draws the random features.

    Raises:
        InputTypeError: public images are neither uint8 nor floating point, disguised ones are not uint8, or labels are
            not int64.
        InputShapeError: images differ in size, labels do not fit them, or there are none.
        InputRangeError: there are too few public images, classes without labels, or a setting is invalid.
        LabelError: a label is not a class.
        BlockSizeError: blocks do not divide the images, units do not divide the blocks, or the order does not fit the
            blocks.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-B, for the disguise; Rahimi, Recht: Random Features for Large-Scale Kernel Machines, for the
        regression.
    """
    _require(public, disguised, scheme)
    if labels is not None:
        require_labels(public, labels, classes)
    elif classes:
        raise InputRangeError(f"classes={classes!r} without labels: give the labels of the public images too")
    mine, theirs = _rarities(public, disguised, scheme, order)
    ridge = RandomFeatureRidge(mine, theirs, generator)
    cost = {"public": len(public), "disguised": len(disguised), "features": mine.shape[1]}
    return RarityResult(
        Level.PUBLIC_DATA,
        cost,
        _rebuild(ridge, public, generator),
        None if labels is None else _classify(ridge, labels, classes),
        _repeating(disguised, scheme),
    )


def _require(public: Tensor, disguised: Tensor, scheme: Scheme) -> None:
    require_preserved(scheme, "rarity_regression", "equality")
    Reading(scheme).require("public", public, disguised)
    if disguised.dtype != torch.uint8:
        raise InputTypeError(
            f"a cipher's images are uint8, but these are {disguised.dtype}: give them as they were released"
        )
    if len(public) < _LEAST_PUBLIC:
        raise InputRangeError(
            f"at least {_LEAST_PUBLIC} public images are needed to tell frequent units from rare ones, "
            f"not {len(public)}; about 5,000 are recommended"
        )


def _rarities(public: Tensor, disguised: Tensor, scheme: Scheme, order: Tensor | None) -> tuple[Tensor, Tensor]:
    """Compute the rarities of both sets in the original order, float32 ``[N, features]`` and ``[M, features]``."""
    order = order_or_statistics(public, disguised, scheme, order)
    reading = Reading(scheme)
    read = reading.repeats if scheme.shared else reading.rarities
    mine, theirs = read(public, undo_order(disguised, order, scheme.blocks))
    return joined(mine), joined(theirs)


def _rebuild(ridge: RandomFeatureRidge, public: Tensor, generator: torch.Generator | None) -> Tensor:
    """Return estimates of the disguised images, in the dtype and on the scale of the public ones."""
    parts = public.flatten(1).split(_PIXELS_AT_ONCE, 1)
    draws = generator_on(public.device, generator)
    mixed = torch.zeros(len(public), _MIXTURES, dtype=torch.float64, device=public.device)
    for part in parts:
        mixed += part.double() @ torch.randn(
            part.shape[1], _MIXTURES, dtype=torch.float64, generator=draws, device=public.device
        )
    shares = ridge.best_shares(mixed)
    rebuilt = torch.cat([like(ridge.of_new(part.double(), shares), public) for part in parts], 1)
    return rebuilt.unflatten(1, public.shape[1:])


def _classify(ridge: RandomFeatureRidge, labels: Tensor, classes: int) -> Tensor:
    wanted = nn.functional.one_hot(labels, classes).double()
    return ridge.of_new(wanted, ridge.best_shares(wanted)).argmax(1)


def _repeating(disguised: Tensor, scheme: Scheme) -> float:
    return float((count_equal(number_units(disguised, scheme)) > 1).float().mean())


def _run(seen: Seen) -> RarityResult:
    found = rarity_regression(
        seen.need(Need.PUBLIC), seen.disguised, scheme=seen.scheme, order=seen.order, generator=seen.generator
    )
    return replace(found, images=found.images[: seen.targets])


def _run_classes(seen: Seen) -> ClassGuesses:
    found = rarity_regression(
        seen.need(Need.PUBLIC),
        seen.disguised,
        scheme=seen.scheme,
        labels=seen.need(Need.LABELS),
        classes=seen.classes,
        order=seen.order,
        generator=seen.generator,
    )
    return ClassGuesses(found.level, found.cost, cast(Tensor, found.guesses))  # there are labels


RARITY = Attack(
    name="rarity_regression",
    title="Rarities",
    about="predicts pixels from the rarity of cipher units",
    finds="picture",
    level=Level.PUBLIC_DATA,
    run=_run,
    score=PICTURES,
    needs=frozenset({Need.PUBLIC}),
    reason=only_for("AESECBDisguise"),
    facts=lambda result: {"repeating_share": result.repeating_share},
)

RARITY_OF_CLASSES = Attack(
    name="rarity_regression (classes)",
    title="Rarities, with classes",
    about="predicts classes from the rarity of cipher units",
    finds="class",
    level=Level.PUBLIC_DATA,
    run=_run_classes,
    score=CLASSES,
    needs=frozenset({Need.PUBLIC, Need.LABELS}),
    reason=only_for("AESECBDisguise"),
)
