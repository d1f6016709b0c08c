"""An image folder: ``root/class/picture.png``, classes numbered in sorted order as in torchvision's ``ImageFolder``."""

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePath
from typing import Literal, TypeAlias

from torchprotect._files import open_regular
from torchprotect.data.sources._base import Header, Preparable, Sample
from torchprotect.data.sources._pictures import IMAGE_EXTENSIONS, decode, decode_header
from torchprotect.errors import SourceError

EXTENSIONS = ", ".join(IMAGE_EXTENSIONS[1:])
HIDDEN, MACOSX, OUTSIDE = "hidden file or folder", "__MACOSX folder", "file outside the class folders"
IN_CLASSES, NO_PICTURE = "file in the class folders", "file"

Layout: TypeAlias = Literal["classes", "some-classes", "flat"]
"""Meaning of folders: classes, all with images; classes, of which some may be empty; or none, and there need not be
any."""


class ImageFolderSource(Preparable):
    """Images in one folder a class, at any depth below it.

    Names that begin with a dot, such as ``._a.png`` or ``.git``, and ``__MACOSX`` are left out and counted, as are
    files that are no pictures and files outside the class folders. Links are followed; a folder that is reached twice
    within a class is refused, since its images would be duplicated.

    Args:
        root: root of the class folders.
        layout: what the folders below the root mean.
    """

    def __init__(self, root: Path, *, layout: Layout = "classes") -> None:
        self.root = root
        self.folders: tuple[Path | str, ...] = (root,)
        self.left_out: Counter[str] = Counter()
        self.description = f"image folder {root.resolve().name}"
        self.class_names: tuple[str, ...] | None = None
        self._files: list[str] = []
        self._labels: list[int | None] = []
        if layout == "flat":
            self._add(self._pictures(root, set(), NO_PICTURE), None)
            if not self._files:
                raise SourceError(no_pictures_in(str(root)))
            return
        classes = self._classes()
        self.class_names = tuple(classes)
        for label, name in enumerate(classes):
            pictures = self._pictures(root / name, {_identity(root)}, IN_CLASSES)
            if not self._add(pictures, label) and layout == "classes":
                raise SourceError(no_images_in(str(root / name)))
        if not self._files:
            raise SourceError(no_classes_in(str(root), any(root.glob("*.tar")), self.left_out[OUTSIDE]))

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        path = self.root / self._files[index]
        try:
            with open_regular(path) as file:
                content = file.read()
        except OSError as error:
            raise SourceError(f"cannot read image {path}: {error.strerror}") from error
        return Sample(decode(content, str(path), self.preparation), self._labels[index])

    def name(self, index: int) -> str:
        """Return the file's path below the root."""
        return self._files[index]

    def locate(self, index: int) -> str:
        """Return the file's path."""
        return str(self.root / self._files[index])

    def known_labels(self) -> list[int | None]:
        """Return all labels without reading an image."""
        return self._labels

    def header(self, index: int) -> Header:
        """Return the shape of an image from its header."""
        path = self.root / self._files[index]
        try:
            with open_regular(path) as file:
                return decode_header(file, str(path), self.preparation)
        except OSError as error:
            if isinstance(error, SourceError):
                raise
            raise SourceError(f"cannot read image {path}: {error.strerror}") from error

    def listing(self) -> Iterator[bytes]:
        """Yield the path of each file below the root."""
        return (os.fsencode(file) for file in self._files)

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield size and time of the last change, in nanoseconds, of each file."""
        for index in indices:
            try:
                state = (self.root / self._files[index]).stat()
            except OSError:
                yield b"missing"
            else:
                yield f"{state.st_size} {state.st_mtime_ns}".encode()

    def digests(self) -> Iterator[bytes | None]:
        """Yield a digest of each file, ``None`` where it cannot be read."""
        for file in self._files:
            try:
                with open_regular(self.root / file) as opened:
                    yield hashlib.sha256(opened.read()).digest()[:16]
            except OSError:
                yield None

    def _add(self, pictures: Iterator[Path], label: int | None) -> int:
        """Add pictures of one class in order of their paths, and return how many there are."""
        files = sorted((path.relative_to(self.root) for path in pictures), key=lambda path: path.parts)
        self._files += [path.as_posix() for path in files]
        self._labels += [label] * len(files)
        return len(files)

    def _classes(self) -> list[str]:
        """Return the names of the class folders, sorted."""
        classes = []
        for entry in _entries(self.root):
            if is_hidden(entry.name):
                self._leave_out_hidden(entry.name)
            elif entry.is_dir():
                classes.append(entry.name)
            elif entry.is_symlink() and not (self.root / entry.name).exists():
                raise SourceError(
                    f"{self.root / entry.name} is a link to nothing: if it was a class, all later ones would have "
                    "other numbers; repair or remove it"
                )
            else:
                self.left_out[OUTSIDE] += 1
        return sorted(classes)

    def _pictures(self, top: Path, seen: set[tuple[int, int]], kind: str) -> Iterator[Path]:
        """Yield pictures at any depth; files that cannot be opened raise when they are read.

        Args:
            top: folder to begin with.
            seen: identities of folders that must not be reached.
            kind: kind of other files, for the count of what is left out.
        """
        waiting = [top]
        while waiting:
            folder = waiting.pop()
            if (identity := _identity(folder)) in seen:
                raise SourceError(f"{folder} is reached twice, by a link, so its images would be duplicated; remove it")
            seen.add(identity)
            for entry in _entries(folder):
                path = folder / entry.name
                if is_hidden(entry.name):
                    self._leave_out_hidden(entry.name)
                elif entry.is_dir():
                    waiting.append(path)
                elif path.suffix[1:].lower() not in IMAGE_EXTENSIONS:
                    self.left_out[not_a_picture(path, kind)] += 1
                else:
                    _require_file(path, entry)
                    yield path

    def _leave_out_hidden(self, name: str) -> None:
        self.left_out[MACOSX if name == "__MACOSX" else HIDDEN] += 1


def is_hidden(name: str) -> bool:
    """Return whether this is the name of an operating system's or a tool's own file or folder."""
    return name.startswith(".") or name == "__MACOSX"


def not_a_picture(path: PurePath, kind: str = IN_CLASSES) -> str:
    """Return the kind of a file that is not used."""
    return f"{path.suffix.lower() or 'extensionless'} {kind}"


def no_classes_in(root: str, has_tars: bool, outside: int) -> str:
    """Return the message on a folder without class folders; ``outside`` files lie beside where they would be."""
    hint = f"; for its tars give a pattern, as in {root}/train-{{000000..000020}}.tar" if has_tars else ""
    if outside and not has_tars:
        hint = (
            f". {outside:,} {'file lies' if outside == 1 else 'files lie'} outside class folders: for pictures without "
            "classes, or with labels in a table, give --labels-from (labels_from=)"
        )
    return f"{root} holds no images in class folders; expected {root}/CLASS/PICTURE.png (or {EXTENSIONS}){hint}"


def no_pictures_in(root: str) -> str:
    """Return the message on a folder without pictures."""
    return f"{root} holds no images (png, {EXTENSIONS}), at any depth"


def no_images_in(folder: str) -> str:
    """Return the message on an empty class folder."""
    return (
        f"class folder {folder} holds no images (png, {EXTENSIONS}): without it all later classes would have other "
        "numbers; add its images or remove the folder"
    )


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise SourceError(f"cannot search {folder}: {error.strerror}") from error


def _identity(folder: Path) -> tuple[int, int]:
    state = folder.stat()
    return state.st_dev, state.st_ino


def _require_file(path: Path, entry: os.DirEntry[str]) -> None:
    """Refuse a FIFO, a socket or a device: reading it could block forever. A broken link raises when it is read."""
    if not entry.is_file() and path.exists():
        kind = _KINDS[stat.filemode(path.stat().st_mode)[0]]
        raise SourceError(f"{path} is a {kind}, not a picture file; remove it from the folder")


_KINDS = {"p": "FIFO", "s": "socket", "c": "device", "b": "device"}
