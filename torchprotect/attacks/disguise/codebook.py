"""A dictionary of cipher units, looked up."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

import torch
from torch import Tensor

from torchprotect.attacks._inputs import generator_on
from torchprotect.attacks.disguise._blocks import assemble_units, cut_units, grouped, undo_order, ungrouped
from torchprotect.attacks.disguise._inputs import require_channels, require_pairs
from torchprotect.attacks.disguise._lookup import RowBook, most_frequent
from torchprotect.attacks.disguise.permutation import order_or_pairs
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import Level, Reconstruction
from torchprotect.attacks.scheme import Scheme, require_preserved
from torchprotect.attacks.scores import PICTURES
from torchprotect.errors import InputRangeError, InputTypeError

Fallback = Literal["zeros", "most-likely", "random-patch"]

_UNITS_AT_ONCE = 2**21  # bounds the memory


@dataclass(frozen=True, eq=False, repr=False)
class CodebookResult(Reconstruction):
    """Images composed of known units.

    Attributes:
        known: bool ``[N, C, H, W]``: pixels whose unit is in the codebook; the others come from the fallback.
        hit_rate: share of the units that are in the codebook.
        hit_rate_non_constant: the same, without units that the codebook decodes to a single grey level, such as
            background. A unit that is not in the codebook counts as non-constant. NaN if none is left.
        one_to_one_rate: share of the units whose codebook entry has exactly one plain unit. With small units, noise or
            several channels on one key, one disguised unit can stand for several plain ones.
    """

    known: Tensor = field(metadata={"json": False})
    hit_rate: float
    hit_rate_non_constant: float
    one_to_one_rate: float


def codebook_attack(
    plain: Tensor,
    disguised: Tensor,
    target: Tensor,
    *,
    scheme: Scheme,
    fallback: Fallback = "zeros",
    order: Tensor | None = None,
    generator: torch.Generator | None = None,
) -> CodebookResult:
    """Decode disguised units with a codebook made of known pairs: an attacker with known pairs (level L2).

    A stateless cipher (AES-ECB) maps equal plain units at one position to equal disguised ones. The pairs give a
    codebook for each position; if positions share a key, they give one for all, so that a unit seen at one position is
    decoded at every other. If a disguised unit stood for several plain ones, the most frequent is taken.

    Cost: ``pairs``, ``entries`` (different disguised units, summed over the codebooks), ``lookups`` (units of the
    attacked images).

    Args:
        plain: known images, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        disguised: the same images disguised, uint8, in the same order.
        target: disguised images to rebuild, uint8 ``[M, C, H, W]``.
        scheme: scheme of ``AESECBDisguise``.
        fallback: replacement for a unit that is not in the codebook: ``zeros``; ``most-likely``, the most frequent
            plain value of each pixel; ``random-patch``, a random known plain unit of that position.
        order: int64 ``[positions]``, the original block at each position. If blocks are permuted, ``None`` recovers it
            from the pairs.
        generator: draws random patches.

    Raises:
        InputTypeError: the disguised images are not uint8: only a cipher of bytes has a codebook.
        InputShapeError: pairs, or pairs and target, do not fit together, or there are none.
        InputRangeError: ``fallback`` is unknown.
        BlockSizeError: blocks do not divide the images, or units do not divide the blocks.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        sections IV-B and V-B.
    """
    require_preserved(scheme, "codebook_attack", "equality")
    require_pairs(plain, disguised, target)
    require_channels(scheme.channels, plain)
    if disguised.dtype != torch.uint8:
        raise InputTypeError(
            f"a codebook needs disguised bytes (uint8), not {disguised.dtype}; for products with a matrix use "
            "regression_attack"
        )
    if fallback not in get_args(Fallback):
        raise InputRangeError(f"fallback must be one of {', '.join(get_args(Fallback))}, got {fallback!r}")
    order = order_or_pairs(plain, disguised, scheme, order)
    if order is not None:
        disguised, target = (undo_order(images, order, scheme.blocks) for images in (disguised, target))
    book = _Codebook(plain, disguised, scheme)
    images, known = plain.new_empty(target.shape), torch.empty_like(target, dtype=torch.bool)
    tally = torch.zeros(3, dtype=torch.int64, device=target.device)
    at_once = max(1, _UNITS_AT_ONCE * scheme.unit_pixels // target[0].numel())
    parts = (each.split(at_once) for each in (target, images, known))
    for wanted, rebuilt, mask in zip(*parts, strict=True):
        found = book.find(wanted)
        units = book.plain_units(found)
        if fallback == "random-patch":
            units = torch.where((found < 0)[..., None], book.random_patches(wanted.shape, generator), units)
        rebuilt.copy_(book.lay(units, wanted.shape))
        mask.copy_(book.lay((found >= 0)[..., None].expand(units.shape), wanted.shape))
        tally += book.tally(found)
    if fallback == "most-likely":
        images = torch.where(known, images, plain.mode(0).values)
    units_seen = target.numel() // scheme.unit_pixels
    hits, constant, one_to_one = tally.tolist()
    left = units_seen - constant
    return CodebookResult(
        Level.KNOWN_PAIRS,
        {"pairs": len(plain), "entries": book.entries, "lookups": units_seen},
        images,
        known,
        hits / units_seen,
        (hits - constant) / left if left else math.nan,
        one_to_one / units_seen,
    )


class _Codebook:
    """For each different disguised unit of each group (position, or position and channel) the plain unit it stands for.

    Units are rows ``[groups, rows, unit_pixels]``.
    """

    def __init__(self, plain: Tensor, disguised: Tensor, scheme: Scheme) -> None:
        self._scheme = scheme
        known = self._rows(plain)
        self._book = RowBook(self._rows(disguised))
        first, different = most_frequent(self._book.numbers.flatten(), RowBook(known).numbers.flatten())
        self._table = known.flatten(0, 1)[first]
        self._plain = plain
        self._constant = (self._table == self._table[:, :1]).all(1)
        self._one_to_one = different == 1
        self.entries = self._book.count

    def find(self, images: Tensor) -> Tensor:
        """Return the entry of each unit, int64 ``[groups, rows]``, -1 for none."""
        return self._book.find(self._rows(images))

    def plain_units(self, found: Tensor) -> Tensor:
        """Return plain units, zeros where there is no entry."""
        return self._table[found.clamp(min=0)].masked_fill((found < 0)[..., None], 0)

    def random_patches(self, shape: torch.Size, generator: torch.Generator | None) -> Tensor:
        """Return plain units for images of a shape, each drawn from those known at its position."""
        own = replace(self._scheme, shared=False)
        known = grouped(self._units(self._plain), own).flatten(1, -2)
        count = math.prod(shape) // self._scheme.unit_pixels // len(known)
        draws = generator_on(known.device, generator)
        index = torch.randint(known.shape[1], (len(known), count), generator=draws, device=known.device)
        drawn = known[torch.arange(len(known), device=known.device)[:, None], index]
        return grouped(ungrouped(drawn, own, self._sizes(shape)), self._scheme).flatten(1, -2)

    def tally(self, found: Tensor) -> Tensor:
        """Count units with an entry, with an entry that is constant, and with one that has one plain unit only."""
        hits = found[found >= 0]
        return torch.stack([torch.tensor(len(hits)).to(hits), self._constant[hits].sum(), self._one_to_one[hits].sum()])

    def _units(self, images: Tensor) -> Tensor:
        """Return units ``[positions, C, N, units, pixels]``."""
        return cut_units(images, self._scheme.blocks, self._scheme.unit_pixels).movedim(2, 1)

    def _rows(self, images: Tensor) -> Tensor:
        return grouped(self._units(images), self._scheme).flatten(1, -2)

    def _sizes(self, shape: torch.Size) -> tuple[int, ...]:
        count, channels, height, width = shape
        (h, w), pixels = self._scheme.blocks, self._scheme.unit_pixels
        return height // h * (width // w), channels, count, h * w // pixels, pixels

    def lay(self, rows: Tensor, shape: torch.Size) -> Tensor:
        """Put units together to images of a shape."""
        units = ungrouped(rows, self._scheme, self._sizes(shape))
        return assemble_units(units.movedim(1, 2), self._scheme.blocks, (shape[-2], shape[-1]))


def _run(seen: Seen, fallback: Fallback) -> CodebookResult:
    plain, disguised, _ = seen.need(Need.PAIRS)
    return codebook_attack(
        plain,
        disguised,
        seen.target,
        scheme=seen.scheme,
        fallback=fallback,
        order=seen.order,
        generator=seen.generator,
    )


CODEBOOK = Attack(
    name="codebook_attack",
    title="Codebook",
    about="decodes cipher units with a codebook made of known pairs",
    finds="picture",
    level=Level.KNOWN_PAIRS,
    run=_run,
    score=PICTURES,
    needs=frozenset({Need.PAIRS}),
    reason=only_for("AESECBDisguise"),
    variants=tuple({"fallback": each} for each in get_args(Fallback)),
    facts=lambda result: {"hit_rate": result.hit_rate, "hit_rate_non_constant": result.hit_rate_non_constant},
    note="Of three fallbacks for units that are not in the codebook, the one that leaks most.",
)
