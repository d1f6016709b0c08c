"""Who may know what: the owner's images divided among the levels of knowledge."""

from dataclasses import dataclass

import torch
from torch import Tensor

from torchprotect.audit._evidence import Evidence

_HELD_OUT = 5  # every fifth plain image, where pairs are not known


@dataclass(frozen=True, eq=False)
class Split:
    """Indices into the images of an evidence, int64, each in a drawn order.

    Where pairs are known, no image that is attacked is public or known. Where they are not, any plain image may be that
    of an attacked one.

    Attributes:
        attacked: disguised images that attacks are run on, at every level.
        others: the other disguised images; a model is trained on them for the utility.
        known: those of the others whose plain images the attacker has at L2.
        public: plain images that the attacker has from L1 on, with labels.
        clean: plain images that are used to see what is reached without a disguise; not public.
    """

    attacked: Tensor
    others: Tensor
    known: Tensor
    public: Tensor
    clean: Tensor


def split(evidence: Evidence, seed: int) -> Split:
    """Divide an evidence: half of the disguised images are attacked, the plain images of the others are public.

    The same evidence and seed give the same split.
    """
    generator = torch.Generator().manual_seed(seed)
    count, none = len(evidence.disguised), torch.empty(0, dtype=torch.int64)
    attacked, others = torch.randperm(count, generator=generator).tensor_split([count // 2])
    if evidence.plain is None:
        return Split(attacked, others, none, none, none)
    if evidence.pairing is None:
        drawn = torch.randperm(len(evidence.plain), generator=generator)
        held_out = torch.arange(len(drawn)) % _HELD_OUT == 0
        return Split(attacked, others, none, drawn[~held_out], drawn[held_out])
    clean = evidence.pairing[attacked]
    hidden = torch.zeros(len(evidence.plain), dtype=torch.bool)
    hidden[clean] = True
    known = others[~hidden[evidence.pairing[others]]]  # a plain image may have been disguised more than once
    drawn = torch.randperm(len(evidence.plain), generator=generator)
    return Split(attacked, others, known, drawn[~hidden[drawn]], clean)
