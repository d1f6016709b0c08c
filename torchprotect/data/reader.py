"""Reading a finished export."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from torchprotect._files import require_local
from torchprotect.data import manifest as documents
from torchprotect.data._stored import read_shard
from torchprotect.errors import ExportError


def read(
    export: str | os.PathLike[str],
    *,
    verify: bool = True,
    shardshuffle: int | bool = False,
    seed: int | None = None,
    resampled: bool = False,
) -> Any:
    """Open a finished export as a WebDataset of ``(image, label)``.

    Every shard is compared with the manifest while it is read: its size, members and image sizes at once, the number of
    samples and the SHA-256 after its last sample. So an epoch that ends without an error was complete. Under
    ``torchrun``, each rank reads its own shards, and within it each ``DataLoader`` worker: an export needs at least as
    many shards as there are ranks, and if the number of ranks does not divide that of the shards, ranks see different
    numbers of images: take ``resampled=True`` and ``.with_epoch(...)``.

    Args:
        export: its folder.
        verify: whether to hash the shards too; the other checks stay.
        shardshuffle: number of shards in the buffer from which the next is drawn; ``False`` keeps their order.
        seed: of the shard shuffle; ``None`` draws one, or takes ``WDS_SEED`` from the environment.
        resampled: draw shards with replacement, without end.

    Returns:
        An iterable dataset of tensors ``[C, H, W]`` and ints (``None`` where the export has no labels), with the
        methods of ``webdataset.WebDataset``, such as ``shuffle`` and ``batched``. Only what an export writes is
        decoded: PNG, npy and class numbers.

    Raises:
        ExportError: it is no finished export. While reading: there are fewer shards than ranks.
        VerificationError: the manifest is malformed. While reading: a shard is not what the manifest says.
    """
    import webdataset

    require_local(export)
    folder = Path(export).resolve()
    manifest = documents.read_manifest(folder)
    reader = _Reader(manifest, folder, verify)
    if not reader.shards:
        raise ExportError(f"{folder} holds no shards")
    shards = webdataset.ResampledShards if resampled else webdataset.SimpleShardList
    dataset = webdataset.FluidWrapper(shards(reader.shards))
    dataset.append(_split_by_rank)
    dataset.append(webdataset.split_by_worker)
    if shardshuffle:
        dataset.append(webdataset.shuffle(int(shardshuffle), seed=seed))
    dataset.append(reader)
    return dataset


def _split_by_rank(shards: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    from webdataset import split_by_node

    none = True
    for shard in split_by_node(shards):
        none = False
        yield shard
    if none:
        raise ExportError(
            "the export has fewer shards than there are ranks, so one of them would train on nothing: export with a "
            "smaller shard_size, or read with resampled=True and .with_epoch(...)"
        )


class _Reader:
    """The stage of the pipeline that turns shards into samples; can be pickled."""

    def __init__(self, manifest: dict[str, Any], folder: Path, verify: bool) -> None:
        self._entries = {str(folder / entry["name"]): entry for entry in manifest["shards"]}
        self._image_size, self._verify = documents.image_size(manifest), verify

    @property
    def shards(self) -> list[str]:
        """Paths of the shards."""
        return list(self._entries)

    def __call__(self, shards: Iterable[dict[str, Any]]) -> Iterator[tuple[Tensor, int | None]]:
        for shard in shards:
            path = shard["url"]
            for _, image, label in read_shard(Path(path), self._entries[path], self._image_size, verify=self._verify):
                yield image, label
