"""Random access to images in shards that are sealed or have no common layout: each image is decoded."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from torchprotect.data._readable import ReadableShard
from torchprotect.data._shard_files import WatchedFiles
from torchprotect.data._stored import Located, damage, decode_located
from torchprotect.data._tar import BLOCK, parse_header
from torchprotect.errors import VerificationError


class OneByOne:
    """Shards of one export. Can be pickled.

    Args:
        shards: shards of the export.
        watched: their files.
        image_size: of all images, if the manifest states it.
    """

    def __init__(
        self, shards: Sequence[ReadableShard], watched: WatchedFiles, image_size: tuple[int, int] | None
    ) -> None:
        self._shards, self._watched, self._image_size = shards, watched, image_size

    def read(
        self, shards: NDArray[np.int64], offsets: NDArray[np.int64], sizes: NDArray[np.int64]
    ) -> Tensor | list[Tensor]:
        """Return images ``[N, C, H, W]``, or a list of them if they differ in shape or dtype.

        Args:
            shards: number of the shard of each image.
            offsets: first byte of each image in its shard.
            sizes: bytes of each image.

        Raises:
            VerificationError: a shard is gone, was changed since it was opened, or holds something else there.
        """
        places = zip(shards.tolist(), offsets.tolist(), sizes.tolist(), range(len(shards)), strict=True)
        images: dict[int, Tensor] = {}
        for shard, in_shard in groupby(sorted(places), itemgetter(0)):
            images.update(self._read(shard, [place[1:] for place in in_shard]))
        self._watched.require_unchanged(set(shards.tolist()))
        found = [images[number] for number in range(len(shards))]
        alike = len({(image.shape, image.dtype) for image in found}) == 1
        return torch.stack(found) if alike else found

    def _read(self, shard: int, places: list[tuple[int, int, int]]) -> Iterator[tuple[int, Tensor]]:
        """Yield images of a shard, each with the number that was given with its place."""
        store, entry, _ = self._shards[shard]
        path = store.path_of(entry["name"])
        try:
            with store.open(entry["name"]) as file:
                for offset, size, number in places:
                    file.seek(offset - BLOCK)  # where the header of the member begins
                    yield number, self._decode(file.read(BLOCK + size), path, offset)
        except OSError as error:
            raise VerificationError(f"cannot read {path}: {error.strerror or error}") from error

    def _decode(self, member: bytes, path: str, offset: int) -> Tensor:
        try:
            name, size = parse_header(member[:BLOCK])
        except ValueError:
            raise damage(path, f"there is no header of a member before byte {offset:,}") from None
        identity, _, kind = name.partition(".")
        if size != len(member) - BLOCK or kind not in ("png", "npy"):
            raise damage(path, f"there is another member at byte {offset:,} than before")
        return decode_located(Located(identity, kind, offset, member[BLOCK:], None), path, self._image_size)
