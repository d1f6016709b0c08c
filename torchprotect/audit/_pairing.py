"""Which plain image became which disguised one: what the key knows."""

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from torchprotect.audit._shards import Written
from torchprotect.data import Sample, Source, manifest
from torchprotect.data._job import sample_id
from torchprotect.data.export import keyed_order
from torchprotect.errors import SourceError
from torchprotect.keys import Key


class Paired(NamedTuple):
    """Plain images ``[N, C, H, W]`` and labels in the order of the disguised ones."""

    images: Tensor
    labels: Tensor | None


def pair(folder: Path, source: Source, key: Key, written: Written) -> Paired:
    """Find the plain image of each sample by its keyed id, which holds a digest of the plain pixels.

    Raises:
        SourceError: the source is not the one that was exported.
    """
    plan = manifest.read_document(folder / manifest.PLAN, manifest.PLAN_FORMAT)
    if plan["images"] != len(source):
        raise SourceError(
            f"the plain source holds {len(source)} images, the one that was exported {plan['images']}; give that one"
        )
    order, size = keyed_order(key.subkey("order"), len(source)), plan["shard_size"]
    found: list[Sample] = []
    start = 0
    for shard, count in enumerate(written.per_shard):
        wanted = written.ids[start : start + count]
        known = _read(source, key, order[shard * size : (shard + 1) * size].tolist(), set(wanted))
        found += [known[identity] for identity in wanted if identity in known]
        start += count
    if len(found) < len(written.ids):
        raise SourceError(
            f"the plain source is not the one that was exported: {len(written.ids) - len(found)} of {len(written.ids)} "
            "images have other ids, which hang on names and pixels; give that one"
        )
    if len({sample.image.shape for sample in found}) > 1:
        raise SourceError("the plain images have several sizes; an audit needs one")
    labels = [sample.label for sample in found if sample.label is not None]
    known_labels = torch.tensor(labels) if len(labels) == len(found) else None
    return Paired(torch.stack([sample.image for sample in found]), known_labels)


def _read(source: Source, key: Key, indices: Iterable[int], wanted: set[str]) -> dict[str, Sample]:
    """Read images in order until all that are wanted are there, leaving out those that an export would have skipped.

    A data set that was exported from Python had its indices for names.
    """
    subkey, found = key.subkey("id"), dict[str, Sample]()
    for index in indices:
        try:
            sample = source[index]
        except SourceError:
            continue
        for name in (source.name(index), str(index)):
            identity = sample_id(subkey, name, index, sample.image).hex()
            if identity in wanted:
                found[identity] = sample
                break
        if len(found) == len(wanted):
            break
    return found
