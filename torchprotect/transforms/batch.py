"""Disguise a whole batch at once, while a ``DataLoader`` collates it."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map
from torch.utils.data import default_collate
from torchvision import tv_tensors

from torchprotect.errors import InputTypeError
from torchprotect.keys import LabelKey
from torchprotect.transforms._disguise import Disguise
from torchprotect.transforms.pipeline import leaves
from torchprotect.transforms.protection import Protection

Collate = Callable[[list[Any]], Any]
"""Takes the samples of a batch and returns the batch; can be pickled."""


def disguise_batch(
    transform: Callable[[Any], Any], *, labels: LabelKey | None = None, collate_fn: Collate = default_collate
) -> Collate:
    """Make a ``collate_fn`` that stacks plain samples and disguises the batch in one call.

    This is faster than disguising picture by picture, as :class:`torchprotect.data.ProtectedDataset` does. Without
    noise, both give the same bits, except for :class:`AdversarialEncrypt`, whose searches round differently in batches.
    With noise, each image has its own in either case. Workers disguise the batches they collate, so no plain picture
    leaves them::

        loader = DataLoader(plain, batch_size=128, num_workers=4, collate_fn=transforms.disguise_batch(disguise))

    The data set must return pictures as tensors of one shape ``[C, H, W]``. The same values may stand beside them as
    for the disguise itself. Labels to be renamed must be class numbers. Random crops and flips belong in the data set's
    transform, where they differ from picture to picture; here they would treat a whole batch alike.

    Args:
        transform: a disguise, or a ``v2.Compose`` that ends in one; it receives the whole batch.
        labels: renames the classes, as in :class:`torchprotect.data.ProtectedDataset`.
        collate_fn: stacks the samples.

    Raises:
        KeyKindError: ``transform`` is a key, or ``labels`` is not a :class:`torchprotect.keys.LabelKey`.
        InputTypeError: ``transform`` holds no disguise. When a batch is collated: samples have no picture ``[C, H,
            W]``, cannot be stacked, or hold something that would be left unprotected, such as a ``tv_tensors.Mask``.

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
        if not samples:
            raise InputTypeError("a batch needs at least one sample, got none")
        self._require_protectable(samples[0])
        try:
            batch = self._collate(samples)
        except (TypeError, RuntimeError) as error:
            raise InputTypeError(
                f"the samples cannot be stacked; pictures must be tensors of one shape, as from v2.ToImage(): {error}"
            ) from error
        pictures, others = _split_tensors(samples[0], batch)
        if not pictures:
            raise InputTypeError("the samples have no picture [C, H, W]; grey ones need a channel too: image[None]")
        if self.labels is not None and any(value[0].numel() > 1 for value in others.values()):
            raise InputTypeError(
                "beside their pictures the samples have tensors with more than one number, which are not class numbers "
                "to be renamed; for a one-hot row give label.argmax()"
            )

        def marked(value: Any) -> Any:
            """Mark a picture, because torchvision takes the first tensor for it; hide other tensors."""
            if id(value) in pictures:
                return tv_tensors.Image(value)
            return _Placeholder(value) if id(value) in others else value

        disguised = self.transform(tree_map(marked, batch))
        return self.rename(tree_map(_unmarked, disguised))

    def _require_protectable(self, sample: Any) -> None:
        """Check a sample as each disguise does; once collated, a mask looks like any other tensor."""
        flat = tree_flatten(sample)[0]
        for step in leaves(self.transform):
            if isinstance(step, Disguise):
                step.check_inputs(flat)


class _Placeholder(str):
    """A placeholder for a tensor of the batch that the transform must not see."""

    value: Any

    def __new__(cls, value: Any) -> "_Placeholder":
        made = super().__new__(cls, "hidden")
        made.value = value
        return made


def _split_tensors(sample: Any, batch: Any) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Return the pictures of a batch, and its other tensors with two or more dimensions, each by its ``id``."""
    pairs = _pair_values(sample, batch)
    if pairs is None:  # collated in a custom way: only the shape identifies a picture
        return {id(value): value for value in tree_flatten(batch)[0] if _are_pictures(value)}, {}
    pictures = {id(value): value for leaf, value in pairs if Disguise.is_picture(leaf) and _are_pictures(value)}
    rest = {id(value): value for leaf, value in pairs if not Disguise.is_picture(leaf)}
    return pictures, {key: value for key, value in rest.items() if isinstance(value, Tensor) and value.ndim > 1}


def _pair_values(sample: Any, batch: Any) -> list[tuple[Any, Any]] | None:
    """Pair each value of a sample with the value of the batch; ``None`` if the batch has another structure."""
    if isinstance(sample, Mapping):
        if not isinstance(batch, Mapping) or sample.keys() != batch.keys():
            return None
        found = [_pair_values(value, batch[name]) for name, value in sample.items()]
    elif isinstance(sample, tuple | list):
        if not isinstance(batch, tuple | list) or len(sample) != len(batch):
            return None
        found = [_pair_values(*each) for each in zip(sample, batch, strict=True)]
    else:
        return [(sample, batch)]
    return None if None in found else [pair for pairs in found for pair in pairs or ()]


def _are_pictures(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim > 3


def _unmarked(value: Any) -> Any:
    if isinstance(value, _Placeholder):
        return value.value
    return value.as_subclass(Tensor) if isinstance(value, tv_tensors.TVTensor) else value
