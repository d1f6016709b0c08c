"""Paths that restored pictures get: original class and name, never outside the folder, never twice."""

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePosixPath

from torchprotect.data.owner import Owner
from torchprotect.data.sources import IMAGE_EXTENSIONS, Label

_LONGEST = 240  # bytes of a part of a path; most file systems take 255, and an extension is added


class RestoredNames:
    """Paths of restored pictures, without their extension.

    Args:
        owner: names of classes and samples; ``None`` names classes by number and pictures by id.
    """

    def __init__(self, owner: Owner | None) -> None:
        self._class_names = None if owner is None else owner.class_names
        self._stems = {} if owner is None else _stems({key: each.name for key, each in owner.originals.items()})

    def path(self, identity: str, label: Label) -> PurePosixPath:
        """Return the path of a sample.

        Args:
            identity: of the sample.
            label: its plain class number; a sample with several labels or none has no folder of a class.
        """
        stem = self._stems.get(identity)
        path = PurePosixPath(identity) if stem is None else PurePosixPath(stem)
        folder = self.class_folder(label) if isinstance(label, int) else None
        return path if folder is None or path.parts[0] == folder else folder / path

    def class_folder(self, label: int) -> str:
        """Return the folder of a class: its name, or its number where that is no name for a folder."""
        names = self._class_names
        name = names[label] if names is not None and label < len(names) else str(label)
        return name if _is_usable(name) and "/" not in name else f"class-{label}"


def _stems(names: Mapping[str, str]) -> dict[str, str]:
    """Return names without image extensions, as far as these are not needed to tell them apart; unusable ones go.

    File systems may not tell upper from lower case.
    """
    short = {identity: _without_extension(name) for identity, name in names.items()}
    of_short = Counter(name.casefold() for name in short.values())
    of_long = Counter(name.casefold() for name in names.values())
    found = {}
    for identity, name in names.items():
        stem = short[identity] if of_short[short[identity].casefold()] == 1 else name
        if of_long[name.casefold()] > 1:
            stem = f"{name}-{identity}"
        if _is_usable(stem):
            found[identity] = stem
    return found


def _without_extension(name: str) -> str:
    stem, _, extension = name.rpartition(".")
    return stem if extension.lower() in IMAGE_EXTENSIONS and stem and not stem.endswith("/") else name


def _is_usable(name: str) -> bool:
    """Return whether this is a relative path that stays below its folder."""
    parts = name.split("/")
    return "\0" not in name and all(
        part not in ("", ".", "..") and len(part.encode(errors="surrogateescape")) <= _LONGEST for part in parts
    )
