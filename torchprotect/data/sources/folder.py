"""An image folder: ``root/class/picture.png``, classes numbered in sorted order as in torchvision's ``ImageFolder``."""

import os
from collections.abc import Iterator
from pathlib import Path

from torchprotect.data.sources._base import IMAGE_EXTENSIONS, Sample, decode
from torchprotect.errors import SourceError


class ImageFolderSource:
    """Images in one folder a class, at any depth below it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.folders: tuple[Path, ...] = (root,)
        classes = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
        self._files: list[str] = []
        self._labels: list[int] = []
        for label, name in enumerate(classes):
            files = sorted(_images_below(root / name), key=lambda path: path.relative_to(root).parts)
            self._files += [path.relative_to(root).as_posix() for path in files]
            self._labels += [label] * len(files)
        if not self._files:
            raise SourceError(f"{root} holds no images; expected {root}/CLASS/PICTURE.png (or {_EXTENSIONS})")

    def __len__(self) -> int:
        return len(self._files)

    def __getitem__(self, index: int) -> Sample:
        path = self.root / self._files[index]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise SourceError(f"cannot read image {path}: {error.strerror}") from error
        return Sample(decode(content, str(path)), self._labels[index])

    def name(self, index: int) -> str:
        """Return the file's path below the root."""
        return self._files[index]

    def known_labels(self) -> list[int]:
        """Return all labels; no image is read for it."""
        return self._labels

    def listing(self) -> Iterator[bytes]:
        """Yield path and size of each file."""
        for file in self._files:
            path = self.root / file
            size = path.stat().st_size if path.exists() else -1
            yield f"{file}\0{size}".encode(errors="surrogateescape")


_EXTENSIONS = ", ".join(IMAGE_EXTENSIONS[1:])


def _images_below(folder: Path) -> Iterator[Path]:
    """Yield pictures at any depth, links followed; what cannot be opened shows when it is read."""

    def stop(error: OSError) -> None:
        raise SourceError(f"cannot search {error.filename}: {error.strerror}") from error

    for place, _, names in os.walk(folder, onerror=stop, followlinks=True):
        for name in names:
            if Path(name).suffix[1:].lower() in IMAGE_EXTENSIONS:
                yield Path(place, name)
