"""Tar archives behind URLs: read by byte ranges, or copied to a local folder when first needed."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from torchprotect.data.cache import ShardCache
from torchprotect.data.sources._archives import Handles, Row, scan_file
from torchprotect.data.sources._label_members import LabelMembers
from torchprotect.data.sources._requests import Request, groups, plan_requests
from torchprotect.data.sources._tar_index import ImageMember, index_archives
from torchprotect.data.store import Entry, Store, open_store
from torchprotect.errors import ProtectError, SourceError, StoreError


class ObjectArchives:
    """Archives behind URLs, of which byte ranges are read."""

    def __init__(self, urls: list[str]) -> None:
        self.names = urls
        self._stores: dict[str, Store] = {}
        for url in urls:
            folder = url.rpartition("/")[0]
            if folder not in self._stores:
                self._stores[folder] = open_store(folder)
        found = self._ask(range(len(urls)))
        if missing := [url for number, url in enumerate(urls) if number not in found]:
            raise SourceError(
                f"{missing[0]} does not exist ({len(missing)} of {len(urls)} tars are missing"
                + (", or the whole bucket or folder is)" if len(missing) == len(urls) else ")")
            )
        self.entries = [found[number] for number in range(len(urls))]
        self._require_ranges()

    def scan(self, number: int, left_out: Counter[str], labels: LabelMembers) -> Iterator[tuple[str, ImageMember]]:
        """Yield key and image of each sample of an archive, which is read from start to end."""
        if not self.entries[number].size:
            return  # servers refuse to send ranges of an empty object
        store, name = self._place(number)
        with store.open(name) as file:
            yield from index_archives(file, 0, self.entries[number].size, self.names[number], left_out, labels)

    def read(self, rows: list[Row]) -> Iterator[bytes | OSError]:
        """Yield the content of each image's file; images that lie near each other are fetched together.

        Raises:
            SourceError: an archive is gone or has another size.
            StoreError: the store cannot be reached.
        """
        for group in groups([row.size for row in rows]):
            yield from self._read_group(rows[group])

    def content(self, rows: list[Row]) -> Iterator[bytes]:
        """Yield URL, tag and size of each image's archive, and the image's offset, size and label.

        Raises:
            SourceError: an archive is not the one that was indexed.
        """
        self._require_unchanged({row.archive for row in rows})
        for row in rows:
            size, tag, _ = self.entries[row.archive]
            fields = self.names[row.archive], tag or "", size, row.offset, row.size, row.label
            yield "\0".join(map(str, fields)).encode(errors="surrogateescape")

    def _read_group(self, rows: list[Row]) -> Iterator[bytes]:
        requests = plan_requests(rows)
        found: dict[int, memoryview] = {}
        for request, body in zip(requests, self._fetch(requests), strict=True):
            if len(body) != request.end - request.start:
                raise SourceError(
                    f"{self.names[request.archive]} changed since it was indexed, or its server does not send ranges: "
                    f"of {request.end - request.start:,} bytes {len(body):,} came; run the same command again"
                )
            for place in request.wanted:
                start = rows[place].offset - request.start
                found[place] = memoryview(body)[start : start + rows[place].size]
        for place in range(len(rows)):
            yield bytes(found.pop(place, b""))

    def _fetch(self, requests: list[Request]) -> list[bytes]:
        """Return the bytes of each request; those to one folder are sent together."""
        by_folder: dict[str, list[int]] = {}
        for place, request in enumerate(requests):
            by_folder.setdefault(self.names[request.archive].rpartition("/")[0], []).append(place)
        bodies: dict[int, bytes] = {}
        for folder, places in by_folder.items():
            asked = [requests[place] for place in places]
            ranges = [(self._place(each.archive)[1], each.start, each.end) for each in asked]
            try:
                bodies.update(zip(places, self._stores[folder].read_ranges(ranges), strict=True))
            except FileNotFoundError as error:
                raise SourceError(f"a tar is gone since it was indexed: {error}; run the same command again") from error
        return [bodies[place] for place in range(len(requests))]

    def _place(self, number: int) -> tuple[Store, str]:
        folder, _, name = self.names[number].rpartition("/")
        return self._stores[folder], name

    def _ask(self, numbers: Iterable[int]) -> dict[int, Entry]:
        """Return the current state of these archives in their stores; archives that are gone are left out."""
        by_folder: dict[str, dict[int, str]] = {}
        for number in numbers:
            folder, _, name = self.names[number].rpartition("/")
            by_folder.setdefault(folder, {})[number] = name
        found: dict[int, Entry] = {}
        for folder, names in by_folder.items():
            entries = self._stores[folder].stat_all(names.values(), alike=True)
            found.update({number: entries[name] for number, name in names.items() if name in entries})
        return found

    def _require_unchanged(self, numbers: set[int]) -> None:
        found = self._ask(sorted(numbers))
        for number in sorted(numbers):
            require_unchanged(self.names[number], self.entries[number], found.get(number))

    def _require_ranges(self) -> None:
        """Check that a web server supports byte ranges; cloud stores always do."""
        if not self.names[0].lower().startswith(("http://", "https://")):
            return
        if unknown := [name for name, entry in zip(self.names, self.entries, strict=True) if not entry.size]:
            raise SourceError(f"{unknown[0]} is empty, or its server does not tell its size; copy it to a local folder")
        store, name = self._place(0)
        try:
            with store.open(name) as file:
                file.seek(1)
                file.read(1)
        except (StoreError, ValueError) as error:
            raise SourceError(
                f"parts of {self.names[0]} cannot be read ({error}): its server must support range requests; copy the "
                "tars to a local folder instead"
            ) from error


class CachedArchives(ObjectArchives):
    """Archives behind URLs, kept as whole local copies; each process downloads what it needs and no other has.

    Args:
        urls: urls of the archives.
        cache: keeps the copies.
    """

    def __init__(self, urls: list[str], cache: ShardCache) -> None:
        super().__init__(urls)
        self._cache, self._handles = cache, Handles()

    def scan(self, number: int, left_out: Counter[str], labels: LabelMembers) -> Iterator[tuple[str, ImageMember]]:
        """Yield key and image of each sample of an archive, of which a copy is made."""
        yield from scan_file(self._copy(number), self.names[number], left_out, labels)

    def read(self, rows: list[Row]) -> Iterator[bytes | OSError]:
        """Yield the content of each image's file."""
        for row in rows:
            content = os.pread(self._descriptor(row.archive), row.size, row.offset)
            if len(content) < row.size:
                where = self._path(row.archive)
                raise StoreError(f"{where}, a copy of {self.names[row.archive]}, is damaged; delete it")
            yield content

    def _descriptor(self, number: int) -> int:
        path = self._path(number)
        return self._handles.open(path if path in self._handles.opened else self._copy(number))

    def _path(self, number: int) -> Path:
        identity = f"{self.names[number]}\0{self.entries[number].tag or ''}\0{self.entries[number].size}"
        return self._cache.folder / (hashlib.sha256(identity.encode(errors="surrogateescape")).hexdigest() + ".tar")

    def _copy(self, number: int) -> Path:
        """Return the path of the copy of an archive."""
        path, size, (store, name) = self._path(number), self.entries[number].size, self._place(number)
        if path.exists():
            return self._cache.fetch(store, name, path.name, size=size)
        self._require_unchanged({number})
        self._cache.fetch(store, name, path.name, size=size)
        try:
            self._require_unchanged({number})  # the name tells the tag, so it must be the tag of what was fetched
        except ProtectError:
            path.unlink(missing_ok=True)
            raise
        return path


def require_unchanged(name: str, indexed: Entry, found: Entry | None) -> None:
    """Check that an object is the one that was indexed, by its tag and size.

    Raises:
        SourceError: it is another one, or gone.
    """
    if found is None or (found.size, found.tag) != (indexed.size, indexed.tag):
        change = "is gone" if found is None else "changed"
        raise SourceError(f"{name} {change} since it was indexed; run the same command again")
