"""The plain images of an export as a source for another export."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

from torchprotect._tarwalk import walk
from torchprotect.data._decode import decode
from torchprotect.data._labels import from_member
from torchprotect.data._undo import Undo
from torchprotect.data.finished import FinishedExport, owner_of, require_made_with
from torchprotect.data.owner import Original
from torchprotect.data.preparation import Preparation
from torchprotect.data.sources import Label, Sample
from torchprotect.errors import InputTypeError, SourceError, VerificationError
from torchprotect.keys import Key

_TOGETHER = 100  # images that are undone at once


class _Member(NamedTuple):
    """Where a sample's image is, and its plain label."""

    id: str
    shard: str
    offset: int
    size: int
    kind: str
    label: Label
    original: Original


class RestoredSource:
    """Plain images of a finished export, in the order of their first source, under their original names.

    They are the images that went into the disguise, so preparing them again as the export did changes nothing.

    Args:
        export: the opened export; its shards were verified.
        key: the key that it was made with.

    Raises:
        NotInvertibleError: the disguise cannot be undone.
        KeyKindError: the export was made with another key.
    """

    def __init__(self, export: FinishedExport, key: Key) -> None:
        plan = require_made_with(export, key)
        owner = owner_of(export, key)
        self.folders: tuple[Path | str, ...] = (export.stored.location,)
        self.left_out: Counter[str] = Counter()
        self.preparation = Preparation.from_description(plan.get("prepare", {}))
        self.decoders = plan.get("decoders")
        self.shard_size: int = plan["shard_size"]
        self.class_names = None if owner is None else owner.class_names
        self.description = "export without an owner's file" if owner is None else owner.source
        self._store, self._undo, self._is_named = export.store, Undo.of(export.manifest, key), owner is not None
        originals = {} if owner is None else owner.originals
        self._classes: int = export.manifest.get("classes", 0)
        self._digests = {entry["name"]: entry["sha256"] for entry in export.manifest["shards"]}
        found = [
            member._replace(original=originals.get(member.id, Original(place, member.id)))
            for place, member in enumerate(
                member for entry in export.manifest["shards"] for member in self._scan(entry["name"])
            )
        ]
        self._members = sorted(found, key=lambda member: member.original.place)

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, index: int) -> Sample:
        (found,) = self.read([index])
        if isinstance(found, SourceError):
            raise found
        return found

    def read(self, indices: list[int]) -> Iterator[Sample | SourceError]:
        """Yield the samples at these indices, in their order; an error in place of one that is not what it was."""
        members = [self._members[index] for index in indices]
        ranges = [(member.shard, member.offset, member.offset + member.size) for member in members]
        contents = self._store.read_ranges(ranges)
        for start in range(0, len(members), _TOGETHER):
            yield from self._undo_together(members[start : start + _TOGETHER], contents[start : start + _TOGETHER])

    def prepared(self, preparation: Preparation) -> "RestoredSource":
        """Return this source; it cannot prepare pictures in another way than the export did."""
        if preparation != self.preparation:
            raise InputTypeError("restored images are prepared already, in another way than is asked for")
        return self

    def name(self, index: int) -> str:
        """Return the original name."""
        return self._members[index].original.name

    def locate(self, index: int) -> str:
        """Return the original name, and the shard that the image is in now."""
        member = self._members[index]
        return f"{member.original.name} ({member.id} in {self._store.path_of(member.shard)})"

    def known_labels(self) -> list[Label]:
        """Return all plain labels."""
        return [member.label for member in self._members]

    def listing(self) -> Iterator[bytes]:
        """Yield the original name of each image, as image folders and tar archives do."""
        return (os.fsencode(member.original.name) for member in self._members)

    def content(self, indices: list[int]) -> Iterator[bytes]:
        """Yield the id of each image and the digest of the shard that it is in."""
        for index in indices:
            member = self._members[index]
            yield f"{member.id} {self._digests[member.shard]}".encode()

    def _scan(self, shard: str) -> Iterator[_Member]:
        """Find the samples of a shard."""
        members: list[tuple[str, str, int, int]] = []
        with self._store.open(shard) as file:
            size = file.seek(0, os.SEEK_END)
            for info in walk(file, 0, size):
                identity, _, kind = info.name.partition(".")
                members.append((identity, kind, info.offset_data, info.size))
            labels = dict[str, Label]()
            for identity, kind, offset, length in members:
                if kind in ("cls", "json"):
                    file.seek(offset)
                    labels[identity] = self._parse_label(kind, file.read(length))
        for identity, kind, offset, length in members:
            if kind not in ("cls", "json"):
                label = self._undo.label(labels.get(identity))
                yield _Member(identity, shard, offset, length, kind, label, Original(0, identity))

    def _parse_label(self, kind: str, content: bytes) -> Label:
        return int(content) if kind == "cls" else from_member(content, self._classes)

    def _undo_together(self, members: list[_Member], contents: list[bytes]) -> Iterator[Sample | SourceError]:
        try:
            disguised = torch.stack([decode(each.kind, body) for each, body in zip(members, contents, strict=True)])
        except ValueError as error:
            raise VerificationError(f"an image in {self._store.location} is damaged: {error}") from error
        plain = self._undo.images(disguised, [member.id for member in members])
        for member, image in zip(members, plain, strict=True):
            if self._is_named and not self._undo.is_exact(member.id, image, member.original):
                yield SourceError(
                    f"{member.original.name} cannot be restored exactly: salt and pepper, float16 or ill-conditioned "
                    "matrices have changed it; export the original source under the new key instead"
                )
            else:
                yield Sample(image.clone(), member.label)
