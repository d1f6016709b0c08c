"""Read labels from a separate file for each sample: members of tars, or files beside pictures."""

import json
from collections.abc import Callable
from typing import Any, Protocol

from torchprotect._json import distinct
from torchprotect.data.sources._class_numbers import RawLabel, check_raw
from torchprotect.errors import SourceError

_DIGITS = 18  # int64
_LARGEST = 1 << 20  # bytes of a file with a label


class LabelMembers(Protocol):
    """Which member of a sample in a tar holds its label, and which number stands for it.

    Attributes:
        largest: most bytes that such a member may have.
    """

    largest: int

    def wants(self, extension: str) -> bool:
        """Return whether the member with this extension, all behind the first dot, holds the label."""

    def read(self, content: bytes, where: str) -> int:
        """Return a number for the label, -1 for none; ``content`` is cut off behind ``largest + 1`` bytes."""


class ClassMembers:
    """``KEY.cls``, a class number in decimal digits."""

    largest = _DIGITS + 16  # white space around a number is allowed

    def wants(self, extension: str) -> bool:
        """Return whether this is a ``.cls``."""
        return extension.rpartition(".")[2] == "cls"

    def read(self, content: bytes, where: str) -> int:
        """Return the class number."""
        text = content.strip()
        if not text.isdigit() or len(text) > _DIGITS or len(content) > self.largest:
            raise SourceError(f"{where} is not a class number; a .cls file holds one, in decimal digits")
        return int(text)


class NoMembers:
    """Samples without labels, whatever members they have."""

    largest = 0

    def wants(self, extension: str) -> bool:
        """Return that it does not."""
        return False

    def read(self, content: bytes, where: str) -> int:
        """Return that there is no label."""
        return -1


class RawMembers:
    """``KEY.json`` or ``KEY.txt``. Labels are numbered in the order in which they are found.

    Attributes:
        values: number of each distinct label.
    """

    largest = _LARGEST

    def __init__(self, extension: str, parse: Callable[[bytes], RawLabel | None]) -> None:
        self.values: dict[RawLabel, int] = {}
        self._extension, self._parse = extension, parse

    def wants(self, extension: str) -> bool:
        """Return whether this is exactly the extension, not one that merely ends with it."""
        return extension == self._extension

    def read(self, content: bytes, where: str) -> int:
        """Return the number of the label among those found."""
        label = self.parse(content, where)
        return -1 if label is None else self.values.setdefault(label, len(self.values))

    def parse(self, content: bytes, where: str) -> RawLabel | None:
        """Return the label.

        Raises:
            SourceError: it cannot be read; the message says where it is.
        """
        if len(content) > self.largest:
            raise SourceError(f"{where} has more than {self.largest:,} bytes, so it is no label")
        try:
            return self._parse(content)
        except ValueError as error:
            raise SourceError(f"{where} holds no label: {error}") from error


def parse_txt(content: bytes) -> RawLabel | None:
    """Return the labels in lines of text: one alone, several, or none.

    Raises:
        ValueError: it is not UTF-8.
    """
    try:
        lines = content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    labels = tuple(line.strip() for line in lines if line.strip())
    return labels[0] if len(labels) == 1 else labels


def parse_json(content: bytes, field: tuple[str, ...]) -> RawLabel | None:
    """Return the label in a field of a JSON object, ``None`` where it is null or not there.

    Raises:
        ValueError: this is not a JSON object, or the field holds something else.
    """
    value = load_object(content)
    for depth, name in enumerate(field, 1):
        if value is None:
            return None
        if not isinstance(value, dict):
            raise ValueError(f"{'.'.join(field[: depth - 1])} is {_kind(value)}, not an object with {name!r}")  # noqa: TRY004
        value = value.get(name)
    return check_raw(value)


def load_object(content: bytes | str) -> Any:
    """Parse a JSON object. Numbers of other fields may be NaN, as Python and pandas write them.

    Raises:
        ValueError: it is none, or has a member twice.
    """
    try:
        value = json.loads(content, object_pairs_hook=distinct)
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None
    if not isinstance(value, dict):
        raise ValueError(f"it is JSON, but {_kind(value)} in place of an object")  # noqa: TRY004
    return value


def _kind(value: Any) -> str:
    return {list: "a list", dict: "an object", str: "text", bool: "a truth value"}.get(type(value), "a number")
