"""Paths of restored pictures: original class and name, never outside the folder, never two pictures in one file."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath

from torchprotect.data._label_table import LABEL_TABLE
from torchprotect.data.owner import Owner
from torchprotect.data.sources import IMAGE_EXTENSIONS, Label

_LONGEST = 200  # bytes of a part of a path; most file systems take 255, and an id and an extension may be added
_KINDS = ("png", "npy")


class RestoredNames:
    """Paths of restored pictures, without their extension.

    If the folders of all pictures are those of their classes, as in an image folder, paths are the original ones.
    Otherwise, pictures with one label are placed in a folder of their class.

    Args:
        owner: names of classes and samples; ``None`` names classes by number and pictures by id.
    """

    def __init__(self, owner: Owner | None) -> None:
        names = {} if owner is None else {identity: each.name for identity, each in owner.originals.items()}
        classes = () if owner is None else owner.class_names or ()
        self._stems = _stems(names)
        self._folders = _folders(classes)
        self._in_classes = owner is not None and owner.in_class_folders

    def path(self, identity: str, label: Label) -> PurePosixPath:
        """Return the path of a sample.

        Args:
            identity: identity of the sample.
            label: its plain class number; a sample with several labels or none has no folder of a class.
        """
        stem = self._stems.get(identity)
        path = PurePosixPath(stem or identity)
        if not isinstance(label, int) or (self._in_classes and stem is not None):
            return path
        return PurePosixPath(self._folders[label] if label < len(self._folders) else str(label)) / path


def _folders(classes: Sequence[str]) -> list[str]:
    """Return a folder for each class: its name, or another one if the name cannot be a folder's."""
    taken = {name.casefold() for name in classes}
    found = []
    for number, name in enumerate(classes):
        if not _is_usable(name) or "/" in name:
            name = f"class-{number}"
            while name.casefold() in taken:
                name += "_"
            taken.add(name.casefold())
        found.append(name)
    return found


def _stems(names: Mapping[str, str]) -> dict[str, str]:
    """Return names without image extensions; with extensions, or with ids, if names would otherwise be ambiguous.

    Unusable names are left out. File systems may not distinguish upper from lower case.
    """
    found = {identity: _without_extension(name) for identity, name in names.items()}
    taken = _Collisions(found.values())
    found = {identity: names[identity] if taken(stem) else stem for identity, stem in found.items()}
    taken = _Collisions(found.values())
    found = {identity: f"{names[identity]}-{identity}" if taken(stem) else stem for identity, stem in found.items()}
    return {identity: stem for identity, stem in found.items() if _is_usable(stem)}


class _Collisions:
    """Tells whether the file of a stem would collide with another file or a folder.

    Args:
        stems: stems of all files.
    """

    def __init__(self, stems: Iterable[str]) -> None:
        folded = [stem.casefold() for stem in stems]
        self._counts = Counter(folded)
        self._folders = {stem[:end] for stem in self._counts for end in _slashes(stem)}

    def __call__(self, stem: str) -> bool:
        folded = stem.casefold()
        return self._counts[folded] > 1 or any(f"{folded}.{kind}" in self._folders for kind in _KINDS)


def _slashes(stem: str) -> Iterable[int]:
    return (place for place, character in enumerate(stem) if character == "/")


def _without_extension(name: str) -> str:
    stem, _, extension = name.rpartition(".")
    return stem if extension.lower() in IMAGE_EXTENSIONS and stem and not stem.endswith("/") else name


def _is_usable(name: str) -> bool:
    """Return whether this is a relative path that stays below its folder."""
    parts = name.split("/")
    return (
        "\0" not in name
        and parts[0] != LABEL_TABLE
        and all(part not in ("", ".", "..") and len(part.encode(errors="surrogatepass")) <= _LONGEST for part in parts)
    )
