"""Disguising a batch at once, while a ``DataLoader`` collates it."""

from collections.abc import Callable
from typing import Any

from torch.utils.data import default_collate

from torchprotect.keys import LabelKey
from torchprotect.transforms.protection import Protection

Collate = Callable[[list[Any]], Any]
"""Takes the samples of a batch, returns the batch; can be pickled."""


def disguise_batch(
    transform: Callable[[Any], Any], *, labels: LabelKey | None = None, collate_fn: Collate = default_collate
) -> Collate:
    """Return a ``collate_fn`` that stacks plain samples and disguises the batch in one call.

    That takes less time than to disguise picture by picture, as :class:`torchprotect.data.ProtectedDataset` does. The
    bits are the same where there is no noise; noise differs from image to image in either case. The worker disguises
    the batch, so no plain picture leaves it::

        loader = DataLoader(plain, batch_size=128, num_workers=4, collate_fn=transforms.disguise_batch(disguise))

    What augments pictures one by one, such as crops, belongs into the data set: in ``transform`` it would treat all
    pictures of a batch alike. They must be tensors of one shape there.

    Args:
        transform: a disguise, or a ``v2.Compose`` that ends in one; it sees the whole batch.
        labels: renames the classes, as of :class:`torchprotect.data.ProtectedDataset`.
        collate_fn: stacks the samples.

    Raises:
        KeyKindError: ``transform`` is a key, or ``labels`` is no :class:`torchprotect.keys.LabelKey`.
        InputTypeError: ``transform`` holds no disguise.

    Warns:
        LabelsLeftPlainWarning: the disguise was made from a bundle with a label map, but ``labels`` is missing.
    """
    return _DisguiseBatch(transform, labels, collate_fn)


class _DisguiseBatch(Protection):
    def __init__(self, transform: Callable[[Any], Any], labels: LabelKey | None, collate_fn: Collate) -> None:
        self.transform, self.labels, self._collate = transform, labels, collate_fn
        self.require_parts("disguise_batch", stacklevel=3)

    def __call__(self, samples: list[Any]) -> Any:
        return self.protect(self._collate(samples))
