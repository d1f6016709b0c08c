"""Guess classes from where cipher units differ from the most frequent one."""

from dataclasses import dataclass, field

from torch import Tensor

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import require_labels
from torchprotect.attacks.disguise._blocks import assemble_units, undo_order
from torchprotect.attacks.disguise._preserved import Reading
from torchprotect.attacks.disguise.permutation import order_or_statistics
from torchprotect.attacks.neighbours import vote
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import ClassGuesses, Level
from torchprotect.attacks.scheme import Scheme, require_preserved
from torchprotect.attacks.scores import CLASSES


@dataclass(frozen=True, eq=False, repr=False)
class SilhouetteResult(ClassGuesses):
    """Guessed classes, and the silhouettes they were guessed from.

    Attributes:
        silhouettes: float32 ``[N, 1, H, W]``, blocks in their original order: 0 if a unit is the most frequent one of
            its position (background), 1 if it is not, averaged over channels. They show the original foreground at the
            resolution of the units.
        background_share: share of the units that are the most frequent one of their position. Near 1 / N, the attack
            has nothing to use.
    """

    silhouettes: Tensor = field(metadata={"json": False})
    background_share: float


def silhouette_attack(
    public: Tensor,
    labels: Tensor,
    disguised: Tensor,
    *,
    classes: int,
    scheme: Scheme,
    order: Tensor | None = None,
    voters: int = 10,
) -> SilhouetteResult:
    """Guess classes from where units are not background, which a stateless cipher shows: public data only (level L1).

    Equal units at one position have equal code words in all images. The most frequent code word of a position therefore
    stands for its most frequent unit, usually an even background. The public images with the nearest silhouettes vote
    on the class of each disguised image. Separate keys per position do not help, because positions repeat over the
    images. If all positions share a key, images are compared by how frequent their units are at any position, which
    reveals more than background alone.

    Cost: ``public``, ``disguised`` (images; all are compared with all), ``features`` (units per image).

    Args:
        public: plain labelled images of the same kind, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        labels: int64 ``[N]``.
        disguised: ``[M, C, H, W]``; the more there are, the more certain the background.
        classes: number of classes.
        scheme: scheme of ``AESECBDisguise``.
        order: int64 ``[positions]``, the original block at each position. If blocks are permuted, ``None`` recovers it
            by :func:`recover_permutation_from_statistics`.
        voters: number of nearest public images that vote; nearer ones have more weight.

    Raises:
        InputTypeError: public images are neither uint8 nor floating point, or labels are not int64.
        InputShapeError: images differ in size, labels do not fit them, or there are none.
        InputRangeError: a setting is invalid.
        LabelError: a label is not a class.
        BlockSizeError: blocks do not divide the images, units do not divide the blocks, or the order does not fit the
            blocks.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section III-B, for the disguise.
    """
    require_preserved(scheme, "silhouette_attack", "equality")
    reading = Reading(scheme)
    reading.require("public", public, disguised)
    require_labels(public, labels, classes)
    require_int("voters", voters, at_least=1)
    order = order_or_statistics(public, disguised, scheme, order)
    disguised = undo_order(disguised, order, scheme.blocks)
    _, silhouettes = mine, theirs = reading.silhouettes(public, disguised)
    if scheme.shared:
        mine, theirs = reading.repeats(public, disguised)
    cost = {"public": len(public), "disguised": len(disguised), "features": mine.shape[0] * mine.shape[2]}
    return SilhouetteResult(
        Level.PUBLIC_DATA,
        cost,
        vote(mine, labels, theirs, classes, voters),
        _maps(silhouettes, disguised, scheme),
        float((silhouettes == 0).float().mean()),
    )


def _maps(silhouettes: Tensor, images: Tensor, scheme: Scheme) -> Tensor:
    """Draw silhouettes ``[positions, N, C * units]`` as pictures, the mean of all channels: ``[N, 1, H, W]``."""
    channels, height, width = images.shape[1:]
    units = silhouettes.unflatten(2, (channels, -1)).mean(2, keepdim=True)[..., None]
    return assemble_units(units.expand(-1, -1, -1, -1, scheme.unit_pixels), scheme.blocks, (height, width))


def _run(seen: Seen) -> SilhouetteResult:
    return silhouette_attack(
        seen.need(Need.PUBLIC),
        seen.need(Need.LABELS),
        seen.disguised,
        classes=seen.classes,
        scheme=seen.scheme,
        order=seen.order,
    )


SILHOUETTE = Attack(
    name="silhouette_attack",
    title="Silhouettes",
    about="guesses the class from where cipher units repeat",
    finds="class",
    level=Level.PUBLIC_DATA,
    run=_run,
    score=CLASSES,
    needs=frozenset({Need.PUBLIC, Need.LABELS}),
    reason=only_for("AESECBDisguise"),
    facts=lambda result: {"background_share": result.background_share},
)
