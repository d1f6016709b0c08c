"""Rebuild pictures from public images alone, by matching moments of disguised lines with those of plain ones."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from torchprotect.attacks._inputs import like, require_labels
from torchprotect.attacks.disguise._blocks import assemble, undo_order
from torchprotect.attacks.disguise._class_map import match_classes
from torchprotect.attacks.disguise._inputs import require_channels
from torchprotect.attacks.disguise._moments import Moments, moments_of
from torchprotect.attacks.disguise._preserved import Reading
from torchprotect.attacks.disguise._rotations import KnownRows, Matrices, fit_matrices
from torchprotect.attacks.disguise._shrinkage import Shrinkage
from torchprotect.attacks.disguise.matrix_rows import read_matrix_rows, reason_against_rows
from torchprotect.attacks.disguise.permutation import order_or_statistics
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import Level, Reconstruction
from torchprotect.attacks.scheme import Scheme, require_preserved
from torchprotect.attacks.scores import PICTURES_UP_TO_MIRROR
from torchprotect.errors import InputRangeError, InputTypeError

_LEAST_IMAGES = 20  # of each kind: fewer have no moments worth matching
_TOLERANCE = 1e-6  # of the largest second moment: in other directions plain lines do not vary
_GOOD = 5.0  # grey levels: an error due to too few images that is hardly visible
_IMAGES_AT_ONCE = 512  # bounds the memory
_MOST_CLASSES = 2**20  # likewise: the map of labels has an entry for each number below the largest


@dataclass(frozen=True, eq=False, repr=False)
class MomentsResult(Reconstruction):
    """Images rebuilt with matrices that were fitted to moments, and what else the fit reveals.

    Attributes:
        order: int64 ``[positions]``: the original block at each position. Statistics of photographs hardly distinguish
            left from right: the whole result may be a mirror image, see
            :func:`torchprotect.attacks.up_to_mirror_image`.
        matrices: float64 ``[positions, channels or 1, m, m]``, or one instead of positions if they share it; 0 in
            directions in which plain lines do not vary, because nothing determines them.
        rank: int64 ``[positions, channels or 1]``, or one instead of positions: number of directions in which plain
            lines do vary, at most m; the mean of the noise counts as one.
        error: float32 ``[positions, channels or 1]``: root mean square error of a rebuilt pixel that is due to the
            number of images, in grey levels, estimated from fits to two halves of them. It is rather too high if images
            are few. It includes neither noise nor systematic differences between public and disguised images.
        wanted: int64 like ``error``: number of images of each kind needed for an error of 5 grey levels; the error
            falls with the square root of their number.
        label_map: int64 ``[classes]``: the number written for each class of ``public_labels``; -1 for a class without
            images or without a match; ``None`` without labels.
    """

    order: Tensor
    matrices: Tensor = field(metadata={"json": False})
    rank: Tensor
    error: Tensor
    wanted: Tensor
    label_map: Tensor | None


def match_moments(
    public: Tensor,
    disguised: Tensor,
    *,
    scheme: Scheme,
    public_labels: Tensor | None = None,
    labels: Tensor | None = None,
    order: Tensor | None = None,
) -> MomentsResult:
    """Rebuild pictures from public images of the same kind, without any pair or known image (level L1).

    A matrix R turns the mean m of a line of a block into m R, and the covariance C of lines at positions p and q into
    R_p' C R_q. The matrices of all positions are fitted together, so that means and covariances of public lines become
    those of disguised ones. Orthogonal matrices are fitted directly; other matrices in coordinates in which lines have
    unit second moments. The moments of one position determine a general matrix only up to a rotation; how the lines of
    different positions vary together determines that rotation too. Noise is modelled, and removed from the rebuilt
    images as far as public images allow (Wiener filter). Without noise, rows of the matrices that occur in the images
    themselves (:func:`read_matrix_rows`) make the fit exact.

    Classes are then matched by their mean images, although a secret map may have renamed them.

    For sets with more than 2**27 pixels, moments are computed from the first images only; all images are rebuilt.

    Cost: ``public``, ``disguised`` (images), ``moments`` (numbers compared of each kind).

    Args:
        public: plain images of the same kind, uint8 or floating point in 0..1, ``[N, C, H, W]``; at least 20, some
            1,000 for good pictures.
        disguised: ``[M, C, H, W]``, exactly as released; ``scheme.white`` is the value of white.
        scheme: scheme of ``RMTDisguise``.
        public_labels: int64 ``[N]``; together with ``labels``, the renaming of classes is recovered.
        labels: int64 ``[M]``, as released; together with ``public_labels``.
        order: int64 ``[positions]``, the original block at each position. If blocks are permuted, ``None`` recovers it
            by :func:`recover_permutation_from_statistics`.

    Returns:
        An image for each disguised one, in the dtype and on the scale of the public ones.

    Raises:
        InputTypeError: public images are neither uint8 nor floating point, labels are not int64, or only one of
            ``public_labels`` and ``labels`` is given.
        InputShapeError: images differ in size or device, or labels do not fit them.
        LabelError: a label is below 0, or 2**20 or more.
        InputRangeError: there are too few images, or the scheme is of another disguise.
        BlockSizeError: blocks do not divide the images, or the order does not fit the blocks.

    References:
        Liu, Giannella, Kargupta: An Attacker's View of Distance Preserving Maps for Privacy Preserving Data Mining, for
        principal axes. Guo, Wu: Deriving Private Information from Arbitrarily Projected Data, for matrices that are no
        rotations. Giannella, Liu, Kargupta (arXiv 0911.2942), for what known inputs add.
    """
    require_preserved(scheme, "match_moments", "energies")
    reading = Reading(scheme)
    reading.require("public", public, disguised)
    require_channels(scheme.channels, public)
    _require_enough(public, disguised)
    _require_both(public_labels, labels)
    for images, numbers in ((public, public_labels), (disguised, labels)):
        if numbers is not None:
            require_labels(images, numbers, _MOST_CLASSES)
    order = order_or_statistics(public, disguised, scheme, order)
    layout = _Layout(scheme, public.shape[1:])
    plain, seen = map(layout.group, reading.lines(public, undo_order(disguised, order, scheme.blocks)))
    variance = scheme.noise**2 / 12
    fit = _Fitting(variance, scheme.keeps_lengths, layout.tied, _known_rows(disguised, order, scheme))
    moments, matrices = fit(plain, seen)
    opened = layout.open(seen, matrices.back, moments, variance)
    rank, projected = layout.determined(moments, variance, matrices.forward)
    error = layout.by_position(fit.error(plain, seen, matrices.forward))
    count = min(len(public), len(disguised))
    return MomentsResult(
        Level.PUBLIC_DATA,
        {"public": len(public), "disguised": len(disguised), "moments": moments.numel()},
        like(opened if public.dtype == torch.uint8 else opened / 255, public),
        order,
        projected,
        rank,
        error.float(),
        (count * (error / _GOOD).square()).ceil().long(),
        None if public_labels is None or labels is None else match_classes(public, public_labels, opened, labels),
    )


@dataclass(frozen=True, eq=False)
class _Fitting:
    """The settings for a fit of matrices to lines ``[groups, N, lines, length]``."""

    variance: float
    orthogonal: bool
    tied: int
    known: KnownRows | None

    def __call__(self, plain: Tensor, seen: Tensor) -> tuple[Moments, Matrices]:
        """Return the moments of plain lines, including noise, and the matrices."""
        moments = moments_of(plain, variance=self.variance)
        matrices = fit_matrices(moments, moments_of(seen), orthogonal=self.orthogonal, tied=self.tied, known=self.known)
        return moments, matrices

    def error(self, plain: Tensor, seen: Tensor, forward: Tensor) -> Tensor:
        """Return the error of rebuilt pixels that is due to the number of images, float64 ``[groups]``.

        Fits to two halves differ by twice the error of a fit to all images, because their variances are twice as large
        each.
        """
        one, other = (self(plain[:, half::2], seen[:, half::2])[1].back for half in (0, 1))
        lines = plain[:, :_IMAGES_AT_ONCE].flatten(1, 2).double()
        return (lines @ (forward @ (one - other))).square().mean((1, 2)).sqrt() / 2


def _known_rows(disguised: Tensor, order: Tensor, scheme: Scheme) -> KnownRows | None:
    """Return the rows of matrices that occur in the images, by groups in the original order; ``None`` if none can.

    Args:
        disguised: ``[N, C, H, W]``, as released.
        order: int64 ``[positions]``, the original block at each position.
        scheme: scheme of matrices.
    """
    if reason_against_rows(scheme) is not None:
        return None
    found = read_matrix_rows(disguised, scheme=scheme)
    position, channel = found.groups.to(order.device).unbind(1)
    group = channel if scheme.shared else order[position] * (scheme.channels or 1) + channel
    return KnownRows(found.rows, group)


class _Layout:
    """Lines of images by groups: those that one matrix multiplies at one position, ``[groups, N, lines, length]``.

    Args:
        scheme: scheme of matrices.
        shape: shape of an image, ``[C, H, W]``.
    """

    def __init__(self, scheme: Scheme, shape: torch.Size) -> None:
        self._scheme, self._shape = scheme, shape
        self._channels = scheme.channels or 1
        self.tied = self._channels if scheme.shared else 0

    def group(self, lines: Tensor) -> Tensor:
        """Group lines ``[positions, N, C, lines, length]``."""
        return lines.unflatten(2, (self._channels, -1)).movedim(2, 1).flatten(0, 1).flatten(2, 3)

    def images(self, lines: Tensor) -> Tensor:
        """Join grouped lines to images in grey levels, without the mean of the noise."""
        blocks = lines.unflatten(0, (-1, self._channels)).movedim(1, 2)  # [positions, N, channels, lines, length]
        blocks = blocks.unflatten(3, (self._shape[0] // self._channels, -1)).flatten(2, 3)
        blocks = blocks.mT if self._scheme.side == "left" else blocks
        return assemble(blocks, (self._shape[1], self._shape[2])) - self._scheme.noise / 2

    def open(self, seen: Tensor, back: Tensor, moments: Moments, variance: float) -> Tensor:
        """Multiply disguised lines by the inverse matrices, and remove the noise."""
        shrink = Shrinkage(moments, variance) if variance else None
        parts = []
        for part in seen.split(_IMAGES_AT_ONCE, 1):
            opened = part @ back[:, None].to(part)
            parts.append(self.images(opened if shrink is None else shrink(opened)))
        return torch.cat(parts)

    def determined(self, moments: Moments, variance: float, forward: Tensor) -> tuple[Tensor, Tensor]:
        """Return ranks and matrices, projected on the directions in which plain lines vary."""
        groups, length = len(forward), forward.shape[-1]
        plain = moments.pooled - variance * torch.eye(length).to(forward)
        if self.tied:
            plain = plain.unflatten(0, (-1, self.tied)).sum(0)
            groups, forward = self.tied, forward[: self.tied]
        squares, directions = torch.linalg.eigh(plain)
        kept = squares > _TOLERANCE * squares.amax()
        projector = directions * kept[..., None, :] @ directions.mT
        matrices = (projector @ forward).view(groups // self._channels, self._channels, length, length)
        return self.by_position(kept.sum(-1)), matrices

    def by_position(self, values: Tensor) -> Tensor:
        """Lay values of groups out as ``[positions, channels or 1]``."""
        return values.view(-1, self._channels)


def _require_enough(public: Tensor, disguised: Tensor) -> None:
    for name, images in (("public", public), ("disguised", disguised)):
        if len(images) < _LEAST_IMAGES:
            raise InputRangeError(
                f"match_moments needs at least {_LEAST_IMAGES} {name} images, got {len(images)}; about 1,000 of each "
                "give good pictures"
            )


def _require_both(public_labels: Tensor | None, labels: Tensor | None) -> None:
    given = {"public_labels": public_labels, "labels": labels}
    missing = [name for name, each in given.items() if each is None]
    if len(missing) == 1:
        (present,) = given.keys() - missing
        raise InputTypeError(
            f"{present} was given without {missing[0]}: classes are matched with both, or leave both out"
        )


def _run(seen: Seen) -> MomentsResult:
    labelled = seen.public_labels is not None and seen.released_labels is not None
    found = match_moments(
        seen.need(Need.PUBLIC),
        seen.disguised,
        scheme=seen.scheme,
        public_labels=seen.public_labels if labelled else None,
        labels=seen.released_labels if labelled else None,
        order=seen.order,
    )
    return replace(found, images=found.images[: seen.targets])


def _facts(result: MomentsResult) -> dict[str, Any]:
    return {
        "rank_least": int(result.rank.min()),
        "rank_most": int(result.rank.max()),
        "error_median": round(float(result.error.median()), 2),
        "images_wanted": int(result.wanted.max()),
        "classes_matched": None if result.label_map is None else int((result.label_map >= 0).sum()),
    }


MOMENTS = Attack(
    name="match_moments",
    title="Moments",
    about="fits the matrices to means and covariances of public images",
    finds="picture",
    level=Level.PUBLIC_DATA,
    run=_run,
    score=PICTURES_UP_TO_MIRROR,
    needs=frozenset({Need.PUBLIC}),
    reason=only_for("RMTDisguise"),
    facts=_facts,
    note="Statistics hardly distinguish left from right in photographs: pictures also count if all are mirrored.",
)
