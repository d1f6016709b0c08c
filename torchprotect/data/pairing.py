"""Pair plain and disguised images: with the key, each sample of an export leads back to its source."""

from typing import NamedTuple

import torch
from torch import Tensor

from torchprotect.data import manifest as documents
from torchprotect.data._labels import single_labels
from torchprotect.data.images import ExportedImages
from torchprotect.data.keyed import keyed_order, sample_id
from torchprotect.data.preparation import other_decoders
from torchprotect.data.sources import Sample, Source, read_samples
from torchprotect.data.store import Store
from torchprotect.errors import SourceError
from torchprotect.keys import Key, SecretBytes


class PlainImages(NamedTuple):
    """Plain images ``[N, C, H, W]`` and labels, int64 ``[N]``, in the order of the export's images."""

    images: Tensor
    labels: Tensor | None


def find_plain_images(store: Store, source: Source, key: Key, exported: ExportedImages) -> PlainImages:
    """Find the plain image of each exported one by its id, a keyed digest of name, index and plain pixels.

    Args:
        store: store of the export.
        source: that was exported, prepared as it was.
        key: that it was exported with.
        exported: images to find the plain ones of, from :func:`torchprotect.data.images.read_images`.

    Raises:
        SourceError: the source is not the one that was exported, or its images have several sizes.
    """
    plan = documents.read_document(store, documents.PLAN, documents.PLAN_FORMAT)
    if plan["images"] != len(source):
        raise SourceError(
            f"the plain source holds {len(source)} images, the one that was exported {plan['images']}; give that one, "
            "with those that were skipped"
        )
    split, size = plan.get("split"), plan["shard_size"]
    order, subkey = keyed_order(key.subkey("order", split), len(source)), key.subkey("id", split)
    found: list[Sample] = []
    start = 0
    for shard, count in enumerate(exported.per_shard):
        wanted = exported.ids[start : start + count]
        samples = _read_until_found(source, subkey, order[shard * size : (shard + 1) * size].tolist(), set(wanted))
        found += [samples[identity] for identity in wanted if identity in samples]
        start += count
    if len(found) < len(exported.ids):
        raise SourceError(
            f"the plain source is not the one that was exported: {len(exported.ids) - len(found)} of "
            f"{len(exported.ids)} images have other ids, which depend on names and pixels; give that one"
            + (f". {note}" if (note := other_decoders(plan)) else "")
        )
    if len({sample.image.shape for sample in found}) > 1:
        raise SourceError(
            "the plain images have several sizes, so that they cannot be compared with the exported ones: a step of "
            "the transform resized them. Export with prepare=data.Preparation(resize=..), which an audit repeats"
        )
    labels = single_labels([sample.label for sample in found])
    return PlainImages(torch.stack([sample.image for sample in found]), labels)


def _read_until_found(source: Source, subkey: SecretBytes, indices: list[int], wanted: set[str]) -> dict[str, Sample]:
    """Read samples in order until all wanted ones are found; unreadable ones are skipped.

    In a data set that was exported from Python, indices serve as names.
    """
    found = dict[str, Sample]()
    for index, sample in zip(indices, read_samples(source, indices), strict=True):
        if isinstance(sample, SourceError):
            continue
        for name in (source.name(index), str(index)):
            identity = sample_id(subkey, name, index, sample.image).hex()
            if identity in wanted:
                found[identity] = sample
                break
        if len(found) == len(wanted):
            break
    return found
