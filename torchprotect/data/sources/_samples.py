"""Compact storage for the names and locations of the samples of many tar archives."""

import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from torchprotect.data.sources._archives import Archives, Row
from torchprotect.data.sources._label_members import LabelMembers
from torchprotect.errors import ProtectError, SourceError


class Names:
    """Strings by index, joined into one value of bytes: a list of a million strings would be slow to send.

    Args:
        joined: all names, in UTF-8 with surrogates for bytes that are not.
        ends: index of the byte behind each name.
    """

    def __init__(self, joined: bytes, ends: NDArray[np.int64]) -> None:
        self.joined, self.ends = joined, ends

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> str:
        index = range(len(self))[index]
        start = self.ends[index - 1] if index else 0
        return self.joined[start : self.ends[index]].decode(errors="surrogateescape")

    def __iter__(self) -> Iterator[bytes]:
        start = 0
        for end in self.ends.tolist():
            yield self.joined[start:end]
            start = end


class TarSamples(NamedTuple):
    """All samples of some archives.

    Attributes:
        keys: in webdataset's sense.
        rows: int64 ``[N, 4]``, a :class:`Row` for each sample.
        left_out: members that are not used, by kind.
    """

    keys: Names
    rows: NDArray[np.int64]
    left_out: Counter[str]


def scan(archives: Archives, labels: LabelMembers) -> TarSamples:
    """Read all archives from start to end to find their samples.

    Args:
        archives: that hold the samples.
        labels: which members hold labels.

    Raises:
        SourceError: one is damaged or breaks a rule, or there are no images.
        StoreError: the store cannot be reached.
    """
    joined, ends, rows, left_out = bytearray(), list[int](), list[Row](), Counter[str]()
    for number, name in enumerate(archives.names):
        try:
            for key, member in archives.scan(number, left_out, labels):
                joined += key.encode(errors="surrogateescape")
                ends.append(len(joined))
                rows.append(Row(number, *member))
        except ProtectError:
            raise
        except (OSError, EOFError, tarfile.TarError) as error:
            raise SourceError(f"cannot read {name}: {error}") from error
    if not rows:
        more = f" and {len(archives.names) - 1} more" if len(archives.names) > 1 else ""
        raise SourceError(f"no images in {archives.names[0]}{more}")
    return TarSamples(Names(bytes(joined), _int64(ends)), _int64(rows), left_out)


def _int64(values: Any) -> NDArray[np.int64]:
    return np.array(values, dtype=np.int64)
