"""Guess classes from the energies of block rows."""

import torch
from torch import Tensor

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import require_labels
from torchprotect.attacks.disguise._alignment import aligned
from torchprotect.attacks.disguise._blocks import undo_order
from torchprotect.attacks.disguise._preserved import Reading, levels
from torchprotect.attacks.disguise.permutation import order_or_statistics
from torchprotect.attacks.neighbours import vote
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import ClassGuesses, Level
from torchprotect.attacks.scheme import Scheme, require_preserved
from torchprotect.attacks.scores import CLASSES


def row_energy_attack(
    public: Tensor,
    labels: Tensor,
    disguised: Tensor,
    *,
    classes: int,
    scheme: Scheme,
    order: Tensor | None = None,
    voters: int = 5,
) -> ClassGuesses:
    """Guess classes from the norms of block rows, which orthogonal matrices preserve: public data only (level L1).

    The attacker has labelled images of the same kind. The nearest public images, by the norms of all rows of all
    blocks, vote on the class of each disguised image. If all positions share one matrix, statistics of the public rows
    reveal it, and the rows themselves are compared besides their norms.

    Cost: ``public``, ``disguised`` (images; all are compared with all), ``features`` (norms per image).

    Args:
        public: plain labelled images, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        labels: int64 ``[N]``.
        disguised: ``[M, C, H, W]``, exactly as released; ``scheme.white`` is the value of white.
        classes: number of classes.
        scheme: scheme of ``RMTDisguise``.
        order: int64 ``[positions]``, the original block at each position. If blocks are permuted, ``None`` recovers it
            by :func:`recover_permutation_from_statistics`.
        voters: number of nearest public images that vote; nearer ones have more weight.

    Raises:
        InputTypeError: public images are neither uint8 nor floating point, or labels are not int64.
        InputShapeError: images differ in size, labels do not fit them, or there are none.
        InputRangeError: a setting is invalid.
        LabelError: a label is not a class.
        BlockSizeError: blocks do not divide the images, or the order does not fit the blocks.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-B, for the disguise; Giannella, Liu, Kargupta (arXiv 0911.2942) for what distances reveal.
    """
    require_preserved(scheme, "row_energy_attack", "energies")
    reading = Reading(scheme)
    reading.require("public", public, disguised)
    require_labels(public, labels, classes)
    require_int("voters", voters, at_least=1)
    order = order_or_statistics(public, disguised, scheme, order)
    disguised = undo_order(disguised, order, scheme.blocks)
    mine, theirs = _rows(reading, public, disguised) if scheme.shared else _norms(reading, public, disguised)
    cost = {"public": len(public), "disguised": len(disguised), "features": mine.shape[0] * mine.shape[2]}
    return ClassGuesses(Level.PUBLIC_DATA, cost, vote(mine, labels, theirs, classes, voters))


def _norms(reading: Reading, public: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
    mine, theirs = reading.norms(public, disguised)
    if not reading.scheme.keeps_lengths:
        theirs = theirs * (
            levels(mine, public.shape[1], reading.scheme) / levels(theirs, public.shape[1], reading.scheme)
        )
    return mine, theirs


def _rows(reading: Reading, public: Tensor, disguised: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows themselves, as far as their shared matrix is found, and their norms."""
    mine, theirs = reading.lines(public, disguised)
    theirs = aligned(mine, theirs, reading.scheme)
    spread = reading.scheme.noise**2 / 12 * mine.shape[-1]
    norms = (mine.square().sum(-1) + spread).sqrt(), theirs.square().sum(-1).sqrt()
    return (
        torch.cat([mine.flatten(2), norms[0].flatten(2)], 2),
        torch.cat([theirs.flatten(2), norms[1].flatten(2)], 2),
    )


def _run(seen: Seen) -> ClassGuesses:
    return row_energy_attack(
        seen.need(Need.PUBLIC),
        seen.need(Need.LABELS),
        seen.disguised,
        classes=seen.classes,
        scheme=seen.scheme,
        order=seen.order,
    )


ROW_ENERGY = Attack(
    name="row_energy_attack",
    title="Row energies",
    about="guesses the class from the norms of block rows, which rotations keep",
    finds="class",
    level=Level.PUBLIC_DATA,
    run=_run,
    score=CLASSES,
    needs=frozenset({Need.PUBLIC, Need.LABELS}),
    reason=only_for("RMTDisguise"),
)
