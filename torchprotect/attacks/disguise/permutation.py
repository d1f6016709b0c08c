"""The secret order of blocks, recovered."""

import torch
from torch import Tensor

from torchprotect.attacks._result import Level, PermutationResult
from torchprotect.attacks.disguise._assignment import assign, margins
from torchprotect.attacks.disguise._inputs import require_pairs
from torchprotect.attacks.disguise._matching import match_statistics
from torchprotect.attacks.disguise._preserved import Preserved, Reading, Side, levels


def recover_permutation(
    plain: Tensor,
    disguised: Tensor,
    *,
    block_size: tuple[int, int],
    preserved: Preserved,
    side: Side = "right",
    unit_pixels: int = 16,
    noise: float = 0.0,
    learned_scale: bool = False,
) -> PermutationResult:
    """Find which block went where: an attacker with known pairs (level L2).

    What the disguise preserves of each block is compared with that of each plain block, over all pairs. Of all orders,
    the one with the least sum of differences is taken. Compared are, by ``preserved``: pixels; norms of rows; or
    which pairs of images agree in a unit, which takes two pairs at least.

    A guess is sure only where blocks differ: places of blocks that are empty in all pairs are exchanged at will, with
    margin 0, or nearly so with noise.

    Cost: ``pairs``, ``assignments`` (assignment problems solved: one).

    Args:
        plain: known images, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        disguised: the same images disguised, in the same order, on the scale of the plain ones if floating point.
        block_size: ``(h, w)`` in pixels.
        preserved: ``values`` for moved blocks, ``energies`` for products with a matrix, ``equality`` for units that a
            cipher replaces one by one.
        side: ``right`` if the matrix multiplies rows of blocks, ``left`` for columns.
        unit_pixels: pixels of a cipher unit, row-major inside a block.
        noise: ``u`` of noise drawn evenly from 0 to ``u`` grey levels before the matrix.
        learned_scale: the matrices are not orthogonal: norms are compared by their correlation over all pairs.

    Returns:
        The order, and margins as differences of the costs: mean squares of grey levels (of standardised norms with a
        learned scale), or shares of units. A negative margin says that another block fits better but was needed
        elsewhere.

    Raises:
        InputTypeError: plain images are neither uint8 nor floating point.
        InputShapeError: pairs do not go together, or there are none.
        InputRangeError: fewer pairs than needed, or a setting makes no sense.
        BlockSizeError: blocks do not divide the images, or units the blocks.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section IV-B, supposes that the order is known to the attacker.
    """
    reading = Reading(block_size, preserved, side, unit_pixels, noise)
    require_pairs(plain, disguised, at_least=2 if preserved == "equality" else 1)
    reading.require("plain", plain, disguised)
    read = {"values": reading.values, "energies": reading.norms, "equality": reading.agreements}[preserved]
    mine, theirs = (each.flatten(1) for each in read(plain, disguised))
    if learned_scale and preserved == "energies":
        mine, theirs = (_standardised(each) for each in (mine, theirs))
    if preserved == "equality":
        costs = torch.cdist(theirs, mine, p=0.0) / mine.shape[1]
    else:
        costs = torch.cdist(theirs, mine).square() / mine.shape[1]
    order = assign(costs)
    cost = {"pairs": len(plain), "assignments": 1}
    return PermutationResult(Level.KNOWN_PAIRS, cost, order, margins(costs, order))


def recover_permutation_from_statistics(
    public: Tensor,
    disguised: Tensor,
    *,
    block_size: tuple[int, int],
    preserved: Preserved,
    side: Side = "right",
    unit_pixels: int = 16,
    noise: float = 0.0,
    learned_scale: bool = False,
) -> PermutationResult:
    """Find which block went where, without any pair: an attacker with public data (level L1).

    The attacker has other images of the same kind. Means and deviations of what the disguise preserves give a first
    order (an assignment problem); then blocks are matched by how they vary together with all other blocks (a quadratic
    one, solved as a row of assignment problems). As both can hardly tell an image from its mirror image, exchanges of
    blocks with those at mirrored places are tried too; what fits best by both statistics is the guess.

    Where statistics are the same, so that order cannot be known: blocks that are empty in all images, or left and right
    in photographs, for which some 10,000 images are needed.

    Cost: ``public``, ``disguised`` (images), ``assignments`` (assignment problems solved).

    Args:
        public: plain images of the same kind, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        disguised: ``[M, C, H, W]``, on the scale of the public ones if floating point.
        block_size: ``(h, w)`` in pixels.
        preserved: as in :func:`recover_permutation`.
        side: as there.
        unit_pixels: as there.
        noise: as there.
        learned_scale: the matrices are not orthogonal: norms are divided by their mean at each place.

    Returns:
        The order, and margins of a sum of both costs, each in parts of its mean. A negative margin says that another
        block fits better but was needed elsewhere.

    Raises:
        InputTypeError: public images are neither uint8 nor floating point.
        InputShapeError: images of different sizes or devices, or none.
        InputRangeError: a setting makes no sense.
        BlockSizeError: blocks do not divide the images, or units the blocks.

    References:
        Guo, Wu: Deriving Private Information from Arbitrarily Projected Data, use statistics of public data in the same
        way.
    """
    reading = Reading(block_size, preserved, side, unit_pixels, noise)
    reading.require("public", public, disguised)
    read = {"values": reading.values, "energies": reading.norms, "equality": reading.silhouettes}[preserved]
    grid = (public.shape[2] // block_size[0], public.shape[3] // block_size[1])
    mine, theirs = read(public, disguised)
    if learned_scale and preserved == "energies":
        mine, theirs = (each / levels(each, public.shape[1]) for each in (mine, theirs))
    order, lead, assignments = match_statistics(mine, theirs, grid)
    cost = {"public": len(public), "disguised": len(disguised), "assignments": assignments}
    return PermutationResult(Level.PUBLIC_DATA, cost, order, lead)


def _standardised(rows: Tensor) -> Tensor:
    centred = rows - rows.mean(1, keepdim=True)
    return centred / centred.std(1, correction=0, keepdim=True).clamp(min=1e-9)
