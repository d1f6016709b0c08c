"""An image folder in a bucket, by the same rules as a local one."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from torchprotect.data.sources._base import Preparable, Sample
from torchprotect.data.sources._pictures import IMAGE_EXTENSIONS, decode
from torchprotect.data.sources._remote import require_unchanged
from torchprotect.data.sources._requests import groups
from torchprotect.data.sources.folder import (
    HIDDEN,
    IN_CLASSES,
    MACOSX,
    NO_PICTURE,
    OUTSIDE,
    Layout,
    is_hidden,
    no_classes_in,
    no_images_in,
    no_pictures_in,
    not_a_picture,
)
from torchprotect.data.store import Entry, Store, open_store
from torchprotect.errors import SourceError

_LISTED_AT_ONCE = 1000  # objects in a request


class BucketFolderSource(Preparable):
    """Objects ``class/picture.png`` below a URL, listed once and fetched many at a time.

    Names, classes and what is left out are those of :class:`ImageFolderSource`.

    Args:
        url: url of the class folders.
        layout: what the folders below the URL mean.
    """

    def __init__(self, url: str, *, layout: Layout = "classes") -> None:
        self._store: Store = open_store(url)
        self.folders: tuple[Path | str, ...] = (self._store.location,)
        self.left_out: Counter[str] = Counter()
        self.description = f"image folder {self._store.location.rstrip('/').rpartition('/')[2]}"
        self._files: list[str] = []
        self._labels: list[int | None] = []
        entries, flat = self._list(), layout == "flat"
        classes = sorted(self._classes(entries, flat=flat).items())
        self.class_names: tuple[str, ...] | None = None if flat else tuple(name for name, _ in classes)
        for label, (name, pictures) in enumerate(classes):
            if not pictures and layout == "classes":
                raise SourceError(no_images_in(self._store.path_of(name)))
            self._files += ["/".join(parts) for parts in sorted(pictures)]
            self._labels += [None if flat else label] * len(pictures)
        if not self._files and flat:
            raise SourceError(no_pictures_in(self._store.location.rstrip("/")))
        if not self._files:
            has_tars = any(name.endswith(".tar") for name in entries)
            raise SourceError(no_classes_in(self._store.location.rstrip("/"), has_tars, self.left_out[OUTSIDE]))
        self._entries = [Entry(entries[file].size, entries[file].tag) for file in self._files]

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        found = next(self.read([index]))
        if isinstance(found, SourceError):
            raise found
        return found

    def read(self, indices: list[int]) -> Iterator[Sample | SourceError]:
        """Yield the samples at these indices, in their order; an error in place of one that cannot be decoded.

        Raises:
            SourceError: an object is gone or has another size.
            StoreError: the store cannot be reached.
        """
        for group in groups([self._entries[index].size for index in indices]):
            yield from self._read_group(indices[group])

    def name(self, index: int) -> str:
        """Return the object's name below the URL."""
        return self._files[index]

    def locate(self, index: int) -> str:
        """Return the object's URL."""
        return self._store.path_of(self._files[index])

    def known_labels(self) -> list[int | None]:
        """Return all labels without reading an image."""
        return self._labels

    def listing(self) -> Iterator[bytes]:
        """Yield the name of each object below the URL."""
        return (_encoded(file) for file in self._files)

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield name, tag and size of each object.

        Raises:
            SourceError: one is not the object that was listed.
        """
        few = len(self._files) < _LISTED_AT_ONCE * len(indices)  # then a listing takes fewer requests
        found = self._store.entries() if few else self._store.stat_all(self._files[index] for index in indices)
        for index in indices:
            file, entry = self._files[index], self._entries[index]
            require_unchanged(self.locate(index), entry, found.get(file))
            yield _encoded(f"{file}\0{entry.tag or ''}\0{entry.size}")

    def _read_group(self, indices: list[int]) -> Iterator[Sample | SourceError]:
        wanted = [index for index in indices if self._entries[index].size]  # servers send no range of an empty object
        # One byte more than there should be, to notice an object that has grown.
        ranges = [(self._files[index], 0, self._entries[index].size + 1) for index in wanted]
        try:
            found = dict(zip(wanted, self._store.read_ranges(ranges), strict=True))
        except FileNotFoundError as error:
            raise SourceError(f"an image is gone since it was listed: {error}; run the same command again") from error
        for index in indices:
            content, entry = found.get(index, b""), self._entries[index]
            require_unchanged(self.locate(index), entry, Entry(len(content), entry.tag))
            try:
                yield Sample(decode(content, self.locate(index), self.preparation), self._labels[index])
            except SourceError as error:
                yield error

    def _list(self) -> dict[str, Entry]:
        try:
            return self._store.entries()
        except FileNotFoundError as error:
            raise SourceError(f"{self._store.location} does not exist: {error}") from error

    def _classes(self, entries: dict[str, Entry], *, flat: bool) -> dict[str, list[tuple[str, ...]]]:
        """Return the names of the pictures of each class, in parts, and count what is left out.

        If ``flat``, all pictures are in one class without a name.
        """
        classes: dict[str, list[tuple[str, ...]]] = {}
        hidden = set[tuple[str, ...]]()
        for name in entries:
            *folders, last = name.split("/")
            parts = (*folders, last) if last else tuple(folders)  # a name that ends in a slash stands for a folder
            if (depth := next((n for n, part in enumerate(parts, 1) if is_hidden(part)), None)) is not None:
                hidden.add(parts[:depth])
                if depth > 1 and not flat:
                    classes.setdefault(parts[0], [])  # a class without images is refused, not skipped
            elif not all(parts):
                self.left_out["object with an empty part in its name"] += 1
            elif not folders and not flat:
                self.left_out[OUTSIDE] += 1
            else:
                pictures = classes.setdefault("" if flat else folders[0], [])
                if PurePosixPath(last).suffix[1:].lower() in IMAGE_EXTENSIONS:
                    pictures.append(parts)
                elif last:
                    self.left_out[not_a_picture(PurePosixPath(last), NO_PICTURE if flat else IN_CLASSES)] += 1
        self.left_out.update(MACOSX if parts[-1] == "__MACOSX" else HIDDEN for parts in hidden)
        return classes


def _encoded(text: str) -> bytes:
    return text.encode(errors="surrogateescape")
