"""Divide the owner's images among the attacker levels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from torchprotect.audit.evidence.evidence import Evidence
from torchprotect.errors import InputRangeError

_HELD_OUT = 5  # every fifth plain image, where pairs are not known


@dataclass(frozen=True, eq=False)
class Split:
    """Indices into the images of an evidence, int64, each in random order.

    If pairs are known, no attacked image is public or known, nor is one that equals it pixel by pixel. If pairs are not
    known, any plain image may be that of an attacked one.

    Attributes:
        attacked: disguised images that attacks are run on, at every level.
        others: the other disguised images; a model is trained on them for the utility.
        known: those of the others whose plain images the attacker has at L2.
        public: plain images that the attacker has from L1 on, with labels.
        clean: plain images for measuring the result without a disguise; not public.
    """

    attacked: Tensor
    others: Tensor
    known: Tensor
    public: Tensor
    clean: Tensor


def split(evidence: Evidence, seed: int) -> Split:
    """Divide an evidence: half of the disguised images are attacked, the plain images of the others are public.

    Images that are equal stay together, so that the halves are as even as their numbers allow. The same evidence and
    seed give the same split.

    Raises:
        InputRangeError: all plain images are equal.
    """
    generator = torch.Generator().manual_seed(seed)
    count, none = len(evidence.disguised), torch.empty(0, dtype=torch.int64)
    drawn = torch.randperm(count, generator=generator)
    if evidence.plain is None:
        attacked, others = drawn.tensor_split([count // 2])
        return Split(attacked, others, none, none, none)
    plain = torch.randperm(len(evidence.plain), generator=generator)
    same = evidence.identities
    if evidence.pairing is None:
        _require_several(same)
        attacked, others = drawn.tensor_split([count // 2])
        held_out = _whole(plain, same, -(-len(plain) // _HELD_OUT))
        return Split(attacked, others, none, plain[~held_out], plain[held_out])
    pairing = evidence.pairing.cpu()
    _require_several(same[pairing])
    chosen = _whole(drawn, same[pairing], count // 2)
    attacked, others = drawn[chosen], drawn[~chosen]
    hidden = torch.isin(same, same[pairing[attacked]])
    return Split(attacked, others, others, plain[~hidden[plain]], pairing[attacked])


def _whole(drawn: Tensor, same: Tensor, wanted: int) -> Tensor:
    """Choose images so that equal ones stay together: those drawn first, as far as they fit; at least one group.

    Args:
        drawn: a permutation of the images.
        same: which images are equal, int64 ``[N]``.
        wanted: how many to choose.

    Returns:
        bool ``[N]``: for each of ``drawn`` whether it is chosen.
    """
    rank = torch.empty_like(drawn).scatter_(0, drawn, torch.arange(len(drawn)))
    groups, members = same.unique(return_inverse=True)
    first = torch.full((len(groups),), len(same)).scatter_reduce_(0, members, torch.arange(len(same)), "amin")
    sizes, left = members.bincount().tolist(), wanted
    taken = torch.zeros(len(groups), dtype=torch.bool)
    for group in rank[first].argsort().tolist():  # by one image of each: large groups are not drawn sooner than others
        if sizes[group] <= left:
            taken[group], left = True, left - sizes[group]
    if not taken.any():
        taken[sizes.index(min(sizes))] = True
    return taken[members[drawn]]


def _require_several(same: Tensor) -> None:
    if len(same.unique()) < 2:
        raise InputRangeError("all plain images are equal: there is nothing that an attack could tell apart")
