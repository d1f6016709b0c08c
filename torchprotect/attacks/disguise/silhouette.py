"""Classes guessed from where cipher units differ from the most frequent one."""

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
    """Classes, and the maps they were guessed from.

    Attributes:
        silhouettes: float32 ``[N, 1, H, W]``, blocks in their original order: 0 where units are the most frequent ones
            of their position (background), 1 where they are not, and the mean of several channels in between. It shows
            the original foreground at the resolution of the units.
        background_share: share of the units that are the most frequent ones of their position. Near 1 / N the attack
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
    """Guess classes by where units are not background, which a cipher without state shows: public data (level L1).

    Equal units at one position have equal code words, in all images: the most frequent code word of a position stands
    for its most frequent unit, mostly an even background. Each disguised image gets the class that the public images
    with the nearest silhouettes vote for. Keys of their own for each position do not help: positions repeat over the
    images. Where all positions share a key, images are compared by how frequent their units are at any position, which
    tells more than whether they are background.

    Cost: ``public``, ``disguised`` (images; all are compared with all), ``features`` (units of each).

    Args:
        public: plain labelled images of the same kind, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        labels: int64 ``[N]``.
        disguised: ``[M, C, H, W]``; the more there are, the more certain the background.
        classes: number of classes.
        scheme: of ``AESECBDisguise``.
        order: int64 ``[positions]``, the original block that lies at each position; where blocks are permuted, ``None``
            recovers it by :func:`recover_permutation_from_statistics`.
        voters: nearest public images that vote, nearer ones with more weight.

    Raises:
        InputTypeError: public images are neither uint8 nor floating point, or labels are not int64.
        InputShapeError: images of different sizes, labels that do not fit them, or none.
        InputRangeError: a setting makes no sense.
        LabelError: a label is no class.
        BlockSizeError: blocks do not divide the images, units the blocks, or the order does not fit the blocks.

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
