"""Disguising a batch at once, while a ``DataLoader`` collates it."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten
from torch.utils.data import default_collate
from torchvision import tv_tensors

from torchprotect.errors import InputTypeError
from torchprotect.keys import LabelKey
from torchprotect.transforms.protection import Protection

Collate = Callable[[list[Any]], Any]
"""Takes the samples of a batch, returns the batch; can be pickled."""


def disguise_batch(
    transform: Callable[[Any], Any], *, labels: LabelKey | None = None, collate_fn: Collate = default_collate
) -> Collate:
    """Return a ``collate_fn`` that stacks plain samples and disguises the batch in one call.

    That is faster than disguising picture by picture, as :class:`torchprotect.data.ProtectedDataset` does. The bits are
    the same where there is no noise, except for :class:`AdversarialEncrypt`, whose searches round differently in
    batches. Noise differs from image to image in either case. Workers disguise the batches they collate, so no plain
    picture leaves them::

        loader = DataLoader(plain, batch_size=128, num_workers=4, collate_fn=transforms.disguise_batch(disguise))

    The data set must return pictures as tensors of one shape ``[C, H, W]``, and labels as class numbers. Random crops
    and flips belong in its transform, where they differ from picture to picture; here they would treat a whole batch
    alike.

    Args:
        transform: a disguise, or a ``v2.Compose`` that ends in one; it sees the whole batch.
        labels: renames the classes, as in :class:`torchprotect.data.ProtectedDataset`.
        collate_fn: stacks the samples.

    Raises:
        KeyKindError: ``transform`` is a key, or ``labels`` is no :class:`torchprotect.keys.LabelKey`.
        InputTypeError: ``transform`` holds no disguise. Later: samples have no picture ``[C, H, W]``, or cannot be
            stacked.

    Warns:
        LabelsLeftPlainWarning: the disguise was made from a bundle with a label map, but ``labels`` is missing.
    """
    return _DisguiseBatch(transform, labels, collate_fn)


class _DisguiseBatch(Protection):
    def __init__(self, transform: Callable[[Any], Any], labels: LabelKey | None, collate_fn: Collate) -> None:
        self.transform, self.labels, self._collate = transform, labels, collate_fn
        self.require_parts("disguise_batch", stacklevel=3)

    def __repr__(self) -> str:
        return f"disguise_batch({self.transform!r}, labels={self.labels!r})"

    def __call__(self, samples: list[Any]) -> Any:
        try:
            batch = self._collate(samples)
        except (TypeError, RuntimeError) as error:
            raise InputTypeError(
                f"the samples cannot be stacked; pictures must be tensors of one shape, as from v2.ToImage(): {error}"
            ) from error
        flat, spec = tree_flatten(batch)
        if not any(map(_are_pictures, flat)):
            raise InputTypeError("the samples have no picture [C, H, W]; grey ones need a channel too: image[None]")
        # marked, since a transform of torchvision takes the first tensor for the picture, and that may be a label
        marked = [tv_tensors.Image(value) if _are_pictures(value) else value for value in flat]
        return tree_map(_unmarked, self.protect(tree_unflatten(marked, spec)))


def _are_pictures(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 3


def _unmarked(value: Any) -> Any:
    return value.as_subclass(Tensor) if isinstance(value, tv_tensors.TVTensor) else value
