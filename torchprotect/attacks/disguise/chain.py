"""A chain of attacks: link known images, accept links as pairs, and rebuild all other images from the pairs."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import like, require_images, require_plain, require_same_size
from torchprotect.attacks.disguise._blocks import cut, undo_order
from torchprotect.attacks.disguise._inputs import require_channels
from torchprotect.attacks.disguise._links import Linker, Links
from torchprotect.attacks.disguise._preserved import Reading
from torchprotect.attacks.disguise._procrustes import rotate_back
from torchprotect.attacks.disguise.codebook import codebook_attack
from torchprotect.attacks.disguise.permutation import recover_permutation, recover_permutation_from_statistics
from torchprotect.attacks.disguise.regression import regression_attack
from torchprotect.attacks.images import white_of
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import Level, Reconstruction
from torchprotect.attacks.scheme import BLOCK_DISGUISES, Preserved, Scheme, require_preserved
from torchprotect.attacks.scores import PICTURES
from torchprotect.errors import InputRangeError, InputTypeError

_FEWEST_PUBLIC = 20
_LEAST_PAIRS: dict[Preserved, int] = {"values": 1, "energies": 1, "equality": 2}  # needed to recover the order


@dataclass(frozen=True, eq=False, repr=False)
class ChainResult(Reconstruction):
    """Images rebuilt from pairs that the attack found itself.

    Attributes:
        links: int64 ``[K]``: for each known image, the index of the most similar disguised one.
        kept: bool ``[K]``: which links were accepted as pairs.
        order: int64 ``[positions]``, the original block at each position; ``None`` if blocks are not permuted, or no
            link was accepted.
        hit_rate: share of the cipher units that are in the codebook; ``None`` for disguises without a codebook.
    """

    links: Tensor
    kept: Tensor
    order: Tensor | None
    hit_rate: float | None


def chain_from_known_images(
    known: Tensor,
    disguised: Tensor,
    target: Tensor,
    *,
    scheme: Scheme,
    public: Tensor | None = None,
    prior: Tensor | None = None,
    rounds: int = 3,
) -> ChainResult:
    """Rebuild unknown images from a few known ones, without key or pairs: an attacker with public data (level L1).

    The attacker has some plain images that lie anywhere among the disguised ones. The attack has three steps:

    1. Link the known images to disguised ones by what the disguise preserves of each block, as in
       :func:`linkage_attack`. A link is accepted as a pair only if nothing contradicts it: the first guess is clearly
       nearer than the second, no farther than noise explains, and no other plain image is nearer to it.
    2. Recover the order of the blocks from the pairs (:func:`recover_permutation`). The order gives more links; repeat
       as long as their number does not fall.
    3. Rebuild the target from the pairs. Under ``RMTDisguise``, orthogonal matrices are computed from the pairs
       (Procrustes), with public images as the prior for rows; without public images, and for other matrices, it is
       :func:`regression_attack`. Under ``AESECBDisguise`` it is :func:`codebook_attack`, with the mean of rare units in
       the gaps. Under ``BlockPermute`` the order is undone. Learned inversion is left out: it takes far longer, and
       begins with a linear map too.

    Links to images that are not in the set are mostly rejected. If no link is accepted, every image is guessed as the
    mean of all plain ones.

    Cost: ``known``, ``candidates`` (images searched), ``features`` (numbers compared per image), ``comparisons`` (of a
    known image and a candidate), ``pairs`` (accepted links).

    Args:
        known: plain images, uint8 or floating point in 0..1, ``[K, C, H, W]``. Images that are not among the disguised
            ones do little harm.
        disguised: ``[N, C, H, W]``, at least two different ones, exactly as released; ``scheme.white`` is the value of
            white.
        target: disguised images to rebuild, ``[M, C, H, W]``; they may be among ``disguised``.
        scheme: scheme of a disguise by blocks.
        public: other plain images of the same kind, ``[P, C, H, W]``. Needed if statistics of the set are compared: for
            a cipher that replaces units, and for matrices that are not orthogonal. A few thousand work best, 20 is the
            minimum. Otherwise they help to order blocks that are alike in all known images, and to model rows.
        prior: a likely order, int64 ``[positions]``. ``None`` with public images recovers one by
            :func:`recover_permutation_from_statistics`. It is used if it gives as many links as no order does.
        rounds: how often, at most, the order is recovered from links and links are made anew.

    Raises:
        InputTypeError: plain images are neither uint8 nor floating point, or a cipher's images are not uint8.
        InputShapeError: images differ in size or device, or there are none.
        InputRangeError: a setting is invalid, there are no two different disguised images, or public images are needed
            and there are too few.
        BlockSizeError: blocks do not divide the images, units do not divide the blocks, or the order does not fit the
            blocks.

    References:
        Giannella, Liu, Kargupta: Breaching Euclidean Distance-Preserving Data Perturbation Using Few Known Inputs
        (arXiv 0911.2942), for pairs found by what is preserved. Lowe: Distinctive Image Features from Scale-Invariant
        Keypoints, section 7.1, for the ratio test.
    """
    preserved = require_preserved(scheme, "chain_from_known_images", "values", "energies", "equality")
    reading = Reading(scheme)
    _require(reading, known, disguised, target, public)
    require_int("rounds", rounds, at_least=1)
    plain = known if public is None else torch.cat([known, public])
    if prior is not None:
        undo_order(disguised[:1], prior, scheme.blocks)  # raises unless this is an order of these blocks
    linker = Linker(reading, plain, len(known), disguised)
    found, order, prior = _first_links(linker, plain, disguised, scheme, prior)
    for _ in range(rounds if scheme.permuted and found.count >= _LEAST_PAIRS[preserved] else 0):
        paired = disguised[found.guesses[found.kept]]
        better = recover_permutation(known[found.kept], paired, scheme=scheme, prior=prior).guesses
        if order is not None and torch.equal(better, order):
            break
        again = linker.link(better)
        if order is not None and again.count < found.count:
            break
        found, order = max(again, found, key=lambda each: each.count), better
    cost = {
        "known": len(known),
        "candidates": len(disguised),
        "features": linker.features,
        "comparisons": linker.comparisons,
        "pairs": found.count,
    }
    pairs = known[found.kept], disguised[found.guesses[found.kept]]
    alike = plain if public is not None and len(public) >= _FEWEST_PUBLIC else None
    images, hit_rate = (
        _rebuild(*pairs, target, scheme, order, alike) if found.count else (_guess_mean(plain, target), None)
    )
    told = order if scheme.permuted and found.count else None
    return ChainResult(Level.PUBLIC_DATA, cost, images, found.guesses, found.kept, told, hit_rate)


def _first_links(
    linker: Linker, plain: Tensor, disguised: Tensor, scheme: Scheme, prior: Tensor | None
) -> tuple[Links, Tensor | None, Tensor | None]:
    """Return the first links, the order they were made with, and the prior order if it is useful."""
    if not scheme.permuted:
        order = torch.arange(len(cut(disguised[:1], scheme.blocks)), device=disguised.device)
        return linker.link(order), order, None
    if prior is None and len(plain) > linker.known:
        prior = recover_permutation_from_statistics(plain, disguised, scheme=scheme).guesses
    found = linker.link(None)
    if prior is None:
        return found, None, None
    ordered = linker.link(prior)
    if ordered.count < found.count and scheme.preserved != "equality":
        return found, None, None
    return ordered, prior, prior


def _rebuild(
    plain: Tensor, disguised: Tensor, target: Tensor, scheme: Scheme, order: Tensor | None, alike: Tensor | None
) -> tuple[Tensor, float | None]:
    """Rebuild images from pairs; return them, and the share of units in the codebook, if there is one.

    Args:
        plain: plain images of pairs.
        disguised: their disguised versions.
        target: images to rebuild.
        scheme: scheme of the disguise.
        order: order of the blocks; ``None`` if they are not permuted.
        alike: plain images that show what images of this kind look like, if there are enough.
    """
    if order is not None:
        disguised, target = (undo_order(each, order, scheme.blocks) for each in (disguised, target))
        scheme = replace(scheme, permuted=False)
    if scheme.preserved == "equality" and alike is not None:
        return _decode_units(plain, disguised, target, scheme, alike)
    if scheme.preserved == "values":
        scale = (255 if plain.dtype == torch.uint8 else 1) / white_of(scheme, plain, disguised)
        return target if (scale, target.dtype) == (1, plain.dtype) else like(target.float() * scale, plain), None
    if alike is not None and scheme.keeps_lengths and not scheme.shared:
        return rotate_back(plain, disguised, target, alike, scheme), None
    return regression_attack(plain, disguised, target, scheme=scheme).images, None


def _decode_units(
    plain: Tensor, disguised: Tensor, target: Tensor, scheme: Scheme, alike: Tensor
) -> tuple[Tensor, float]:
    """Decode units with a codebook; other units become the mean of those units of similar images in no pair."""
    read = codebook_attack(plain, disguised, target, scheme=scheme)
    bytes_of_pairs, bytes_of_alike = (_as_bytes(each) for each in (plain, alike))
    rare = ~codebook_attack(bytes_of_pairs, bytes_of_pairs, bytes_of_alike, scheme=scheme).known
    count, total = rare.sum(0), (alike * rare).sum(0, dtype=torch.float32)
    mean = torch.where(count > 0, total / count.clamp(min=1), alike.float().mean(0))
    return torch.where(read.known, read.images, like(mean, plain)), read.hit_rate


def _as_bytes(images: Tensor) -> Tensor:
    return images if images.dtype == torch.uint8 else (images * 255).round().to(torch.uint8)


def _guess_mean(plain: Tensor, target: Tensor) -> Tensor:
    """Guess the mean of plain images for every target image."""
    return like(plain.float().mean(0), plain).expand(target.shape).clone()


def _require(reading: Reading, known: Tensor, disguised: Tensor, target: Tensor, public: Tensor | None) -> None:
    reading.require("known", known, disguised)
    require_channels(reading.scheme.channels, known)
    require_images("images to be opened", target)
    require_same_size("images to be opened", target, "disguised images", disguised)
    if target.dtype != disguised.dtype:
        raise InputTypeError(
            f"images to be opened must be {disguised.dtype} like the disguised ones, not {target.dtype}"
        )
    if reading.scheme.preserved == "equality" and disguised.dtype != torch.uint8:
        raise InputTypeError(f"a codebook needs disguised bytes (uint8), not {disguised.dtype}")
    if public is not None:
        require_plain("public images", public)
        require_same_size("public images", public, "known images", known)
        if public.dtype != known.dtype:
            raise InputTypeError(f"public images must be {known.dtype} like the known ones, not {public.dtype}")
    compares_statistics = reading.scheme.preserved == "equality" or not reading.scheme.keeps_lengths
    count = 0 if public is None else len(public)
    if compares_statistics and count < _FEWEST_PUBLIC:
        raise InputRangeError(
            f"under this disguise links need the statistics of public images: at least {_FEWEST_PUBLIC}, preferably "
            f"a few thousand, not {count}"
        )


def _run(seen: Seen) -> ChainResult:
    return chain_from_known_images(
        seen.need(Need.MEMBERS),
        seen.disguised,
        seen.target,
        scheme=seen.scheme,
        public=seen.need(Need.PUBLIC),
        prior=seen.order,
    )


def _facts(result: ChainResult) -> dict[str, Any]:
    told = {"links_kept": int(result.kept.sum())}
    return told if result.hit_rate is None else told | {"hit_rate": result.hit_rate}


CHAIN_FROM_KNOWN_IMAGES = Attack(
    name="chain_from_known_images",
    title="Chain from known images",
    about="links known images to disguised ones, and rebuilds all other images from these pairs",
    finds="picture",
    level=Level.PUBLIC_DATA,
    run=_run,
    score=PICTURES,
    needs=frozenset({Need.PUBLIC, Need.MEMBERS}),
    holder="Someone who knows {images} of the set, but has no pairs and no key,",
    reason=only_for(*BLOCK_DISGUISES),
    facts=_facts,
)
