"""Read rows of the secret matrices that occur in images disguised without noise."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from torchprotect.attacks._inputs import require_images
from torchprotect.attacks.disguise._blocks import cut
from torchprotect.attacks.disguise._inputs import require_channels
from torchprotect.attacks.measures import Measure
from torchprotect.attacks.protocol import Attack, Reason, Seen, only_for
from torchprotect.attacks.results import AttackResult, Level
from torchprotect.attacks.scheme import Scheme, require_preserved
from torchprotect.attacks.scores.intervals import wilson
from torchprotect.attacks.scores.truth import Score, Truth
from torchprotect.errors import InputRangeError

_TOLERANCE = 0.02  # of a squared length, which is a whole number but for rounding
_NEAR = 0.5  # of a squared length: if whole grey levels come this close to 1, they are 1
_ROUNDING = 0.01  # of a number in a line, in grey levels, as the images were stored: more would hide single ones
_SAME = 0.5  # cosine: rows of an orthogonal matrix are the same or at right angles
_IMAGES_AT_ONCE = 512  # bounds the memory


@dataclass(frozen=True, eq=False, repr=False)
class MatrixRowsResult(AttackResult):
    """Rows of secret matrices.

    Attributes:
        rows: float32 ``[found, m]``, each up to its sign: parts of the key.
        groups: int64 ``[found, 2]``: position as released, and channel (0 if channels share a matrix).
        found: number of rows found; if positions share a matrix, number of different rows.
        total: number of rows of the matrices.
        complete: number of matrices whose rows were all found: their blocks can be read up to the order of the columns.
    """

    rows: Tensor = field(metadata={"json": False})
    groups: Tensor = field(metadata={"json": False})
    found: int
    total: int
    complete: int


def read_matrix_rows(disguised: Tensor, *, scheme: Scheme) -> MatrixRowsResult:
    """Read rows of orthogonal matrices from noiseless images of whole grey levels: disguised images only (level L0).

    A line x of whole grey levels becomes x R, of the same length. Length 1 means that one pixel of x is 1 and all
    others are 0, so the disguised line is a row of R. The same holds, up to the sign, for the difference of two lines
    of a block that differ by one grey level in one pixel. If most squared lengths near 1 are not exactly 1, pixels are
    not whole grey levels or these are not such images, and nothing is read. Lines are also skipped if they are so
    bright that rounding, as to float16, hides single grey levels in their differences.

    Cost: ``lines`` (examined, including differences).

    Args:
        disguised: ``[N, C, H, W]``, exactly as released; floating-point images are assumed to be grey levels of 0..255
            unless ``scheme.white`` is 1.
        scheme: scheme of ``RMTDisguise`` with orthogonal matrices and without noise.

    Raises:
        InputRangeError: the scheme has another disguise, other matrices or noise.
        BlockSizeError: blocks do not divide the images.
    """
    require_preserved(scheme, "read_matrix_rows", "energies")
    if (reason := reason_against_rows(scheme)) is not None:
        raise InputRangeError(f"read_matrix_rows does not apply: {reason}")
    require_images("disguised images", disguised)
    require_channels(scheme.channels, disguised)
    looked_at, near, rows, groups = 0, 0, [], []
    brightest = _ROUNDING / torch.finfo(disguised.dtype).eps if disguised.is_floating_point() else math.inf
    for part in disguised.split(_IMAGES_AT_ONCE):
        lines = _lines(part.float() * (255 // (scheme.white or 255)), scheme)
        told = (lines.norm(dim=-1, keepdim=True) < brightest).expand_as(lines)
        lines = torch.where(told, lines, torch.nan)  # compares as unlike any length, and so do its differences
        for candidates in (lines, lines.diff(dim=2), *_channel_differences(lines, part.shape[1], scheme)):
            apart = (candidates.square().sum(-1) - 1).abs()
            where = (apart < _TOLERANCE).nonzero(as_tuple=True)
            near += int((apart < _NEAR).sum())
            rows.append(candidates[where])
            groups.append(where[0])
            looked_at += candidates.shape[:-1].numel()
    channels, length = scheme.channels or 1, lines.shape[-1]
    if 2 * sum(map(len, rows)) < near:
        rows, groups = [rows[0][:0]], [groups[0][:0]]
    group = torch.cat(groups) % channels if scheme.shared else torch.cat(groups)
    kept = _distinct(torch.cat(rows), group)
    matrices = channels if scheme.shared else len(lines)
    counts = group[kept].bincount(minlength=matrices)
    return MatrixRowsResult(
        Level.CIPHERTEXT_ONLY,
        {"lines": looked_at},
        torch.cat(rows)[kept],
        torch.stack([group[kept] // channels, group[kept] % channels], 1),
        found=len(kept),
        total=matrices * length,
        complete=int((counts == length).sum()),
    )


def _lines(images: Tensor, scheme: Scheme) -> Tensor:
    """Cut into lines ``[groups, N, lines, length]``, float32; a group is a position, or a position and a channel."""
    blocks = cut(images, scheme.blocks)  # [positions, N, C, h, w]
    blocks = blocks.mT if scheme.side == "left" else blocks
    return blocks.unflatten(2, (scheme.channels or 1, -1)).movedim(2, 1).flatten(0, 1).flatten(2, 3)


def _channel_differences(lines: Tensor, channels: int, scheme: Scheme) -> list[Tensor]:
    """Return differences of the same line in two channels that share a matrix; nearly grey pixels differ little."""
    if scheme.channels is not None or channels == 1:
        return []
    return [lines.unflatten(2, (channels, -1)).diff(dim=2).flatten(2, 3)]


def _distinct(rows: Tensor, group: Tensor) -> Tensor:
    """Return indices of rows that differ from the others of their group, also up to their sign.

    Each pass takes the first row of each group that is unlike all taken before: as many passes as a matrix has rows.
    """
    left, taken = torch.arange(len(rows), device=rows.device), []
    while len(left):
        groups, member = group[left].unique(return_inverse=True)
        first = torch.full((len(groups),), len(rows), device=rows.device).scatter_reduce(0, member, left, "amin")
        taken.append(first)
        alike = (rows[left] * rows[first][member]).sum(-1).abs() > _SAME
        left = left[~alike]
    return torch.cat(taken) if taken else left


def reason_against_rows(scheme: Scheme) -> Reason:
    """Return why no rows of matrices can occur in images under a scheme; ``None`` if they may."""
    if (found := only_for("RMTDisguise")(scheme)) is not None:
        return found
    if scheme.matrix != "orthogonal":
        return f"the matrices are {scheme.matrix}: they do not keep the lengths of rows"
    if scheme.blocks[0 if scheme.side == "left" else 1] == 1:
        return "a matrix of one number is 1 or -1: there is no row to read"
    return "noise covers single grey levels" if scheme.noise else None


def _measures(result: MatrixRowsResult, truth: Truth) -> tuple[Measure, ...]:
    """Return the share of the key's rows that were read.

    In images of whole grey levels, a line of length 1 can be nothing else.
    """
    share = result.found / result.total
    interval = wilson(share, result.total)
    return (Measure("rows of the matrices", share, *interval, 0.0, 1.0, count=result.total, about="key"),)


def _run(seen: Seen) -> MatrixRowsResult:
    return read_matrix_rows(seen.disguised if seen.released is None else seen.released, scheme=seen.scheme)


MATRIX_ROWS = Attack(
    name="read_matrix_rows",
    title="Rows of matrices",
    about="reads rows of the secret matrices from lines of pixels that hold a single 1",
    finds="key",
    level=Level.CIPHERTEXT_ONLY,
    run=_run,
    score=Score((), _measures, MatrixRowsResult),
    reason=reason_against_rows,
    facts=lambda result: {"rows_found": result.found, "rows": result.total, "matrices_complete": result.complete},
    note="With public images, the attack by moments takes these rows as known: where nearly all were read, it opens "
    "the pictures exactly.",
)
