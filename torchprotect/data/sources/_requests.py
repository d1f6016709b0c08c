"""Plan byte ranges, so that a batch of images takes few requests and a bounded amount of memory."""

from collections.abc import Iterator
from dataclasses import dataclass

from torchprotect.data.sources._archives import Row

_LARGEST_GAP = 64 << 10  # bytes between two images that are fetched too, rather than in a request more
_LARGEST_REQUEST = 8 << 20
_GROUP_BYTES, _GROUP_IMAGES = 32 << 20, 1000  # gaps add at most 64 MB


@dataclass
class Request:
    """One byte range of an archive.

    Attributes:
        archive: number of the archive.
        start: first byte.
        end: the byte behind the last.
        wanted: places in the list of rows of the images that lie in it.
    """

    archive: int
    start: int
    end: int
    wanted: list[int]


def plan_requests(rows: list[Row]) -> list[Request]:
    """Return the ranges that hold all images; neighbours share one. Empty images need none."""
    requests: list[Request] = []
    for place in sorted(range(len(rows)), key=lambda place: rows[place]):
        row = rows[place]
        end, last = row.offset + row.size, requests[-1] if requests else None
        if row.size == 0:
            continue
        if last is not None and _joins(last, row):
            last.end = max(last.end, end)
            last.wanted.append(place)
        else:
            requests.append(Request(row.archive, row.offset, end, [place]))
    return requests


def _joins(last: Request, row: Row) -> bool:
    near = row.archive == last.archive and row.offset - last.end <= _LARGEST_GAP
    return near and max(last.end, row.offset + row.size) - last.start <= _LARGEST_REQUEST


def groups(sizes: list[int]) -> Iterator[slice]:
    """Divide a list of images, given by their sizes in bytes, into groups that are downloaded one after the other."""
    start, total = 0, 0
    for place, size in enumerate(sizes):
        if place > start and (total + size > _GROUP_BYTES or place - start >= _GROUP_IMAGES):
            yield slice(start, place)
            start, total = place, 0
        total += size
    if start < len(sizes):
        yield slice(start, len(sizes))
