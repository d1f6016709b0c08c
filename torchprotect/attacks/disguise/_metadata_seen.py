"""Counts that a metadata scan keeps of the files it has read."""

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from torchprotect.attacks.disguise._embedded import PICTURES, has_extras
from torchprotect.attacks.disguise._folder import Entry

_ID = re.compile(r"[0-9a-f]{16,}")
_LABEL, _MANY_LABELS = 32, 1 << 16  # bytes of a class number, and of several
_LABELS = re.compile(rb"\[(?:[0-9]+(?:,[0-9]+)*)?\]")
_DOCUMENT = 1 << 24  # bytes of plan and manifest
_KEY_MARK = b"torchprotect-key"
_FIELDS = {
    "manifest.json": "format version security_claim plan key transform plain prepare split store images labels classes "
    "shards distance owner hmac",
    "plan.json": "format version torchprotect source transform plain prepare decoders split store key images classes "
    "shard_size owner probe hmac",
}
_OWNER = "owner.sealed"


@dataclass
class Listing:
    """Counts over all entries."""

    images: int = 0
    members: int = 0
    plain_names: int = 0
    falling: int = 0
    last_name: str = ""
    in_folders: int = 0
    sizes: set[tuple[str, int]] = field(default_factory=set)
    kinds: set[str] = field(default_factory=set)
    times: set[float] = field(default_factory=set)
    owned: int = 0
    extended: int = 0
    modes: Counter[int] = field(default_factory=Counter)
    embedded: int = 0
    labels: list[str] = field(default_factory=list)
    classes: Counter[str] = field(default_factory=Counter)
    steps: int = 0
    strange_fields: int = 0
    keys: int = 0
    unexpected: int = 0
    unread: int = 0

    def add(self, entry: Entry) -> None:
        """Count one entry."""
        self.members += entry.member
        kind = entry.name.name.rpartition(".")[2].lower()
        if not entry.regular:
            self.unexpected += 1
        elif not entry.member and entry.name.name in _FIELDS:
            self._document(entry)
        elif not entry.member and entry.name.name == _OWNER:
            pass  # encrypted for the owner
        elif kind in PICTURES or kind == "npy":
            self._image(entry, kind)
        elif kind == "cls":
            self._label(entry)
        elif kind == "json" and entry.member and _LABELS.fullmatch(entry.read(_MANY_LABELS)):
            self._many_labels(entry)
        else:
            self.unexpected += 1
            self.keys += _KEY_MARK in entry.read(4096)
        if entry.member:
            self.owned += entry.owned
            self.extended += entry.extended
            self.modes[entry.mode] += 1

    def _image(self, entry: Entry, kind: str) -> None:
        self.images += 1
        stem = entry.name.name.partition(".")[0]
        self.plain_names += _ID.fullmatch(stem) is None
        self.falling += stem < self.last_name
        self.last_name = stem
        self.sizes.add((kind, entry.size))
        self.kinds.add(kind)
        self.times.add(entry.time)
        if len(entry.name.parts) > 1:
            self.in_folders += 1
            if not entry.member:
                self.classes[entry.name.parts[-2]] += 1
        if kind in PICTURES:
            extras = has_extras(entry)
            self.embedded += bool(extras)
            self.unread += extras is None

    def _label(self, entry: Entry) -> None:
        self.times.add(entry.time)
        label = entry.read(_LABEL).decode("ascii", "replace").strip()
        self.classes[label] += 1
        self.labels.append(label)

    def _many_labels(self, entry: Entry) -> None:
        self.times.add(entry.time)
        text = entry.read(_MANY_LABELS).decode("ascii")
        self.classes.update(text.strip("[]").split(",") if text != "[]" else ())
        self.labels.append(text)

    def _document(self, entry: Entry) -> None:
        try:
            content = json.loads(entry.read(_DOCUMENT))
        except (ValueError, RecursionError):
            self.unread += 1
            return
        if not isinstance(content, dict):
            self.unread += 1
            return
        self.strange_fields += len(set(content) - set(_FIELDS[entry.name.name].split()))
        if entry.name.name == "manifest.json":
            steps: Any = content.get("transform")
            self.steps = len(steps) if isinstance(steps, list) else 0
