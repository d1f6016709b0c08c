"""Find the samples in a tar file. Every member is used, counted or refused; none is dropped silently."""

import posixpath
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from torchprotect._tarwalk import walk
from torchprotect.data.sources._label_members import LabelMembers
from torchprotect.data.sources._pictures import IMAGE_EXTENSIONS
from torchprotect.errors import SourceError

_SAMPLE_NAME = re.compile(r"((?:.*/)?[^./]+)[.]([^/]*)", re.DOTALL)  # webdataset's key and extension
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


class ImageMember(NamedTuple):
    """Offset and size of an image's file in bytes, and the number that stands for the sample's label, or -1."""

    offset: int
    size: int
    label: int


class _Group:
    """The members of one sample so far."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.image: tuple[str, int, int] | None = None  # name, offset, size
        self.label: tuple[str, int] | None = None  # name, number
        self.others: list[str] = []


def index_archives(
    file: BinaryIO, start: int, end: int, path: str, left_out: Counter[str], labels: LabelMembers
) -> Iterator[tuple[str, ImageMember]]:
    """Yield key and image of each sample of the archives in ``file[start:end]``.

    Args:
        file: open for reading.
        start: offset of the first archive.
        end: offset behind the last one.
        path: path or URL of the file, for messages.
        left_out: counts members that are not used.
        labels: which members hold labels.

    Raises:
        SourceError: a member breaks a rule; the message names both.
        tarfile.ReadError: the file is damaged.
    """
    group: _Group | None = None
    regular: dict[str, tuple[int, int]] = {}  # hard links refer to members before them
    for member in walk(file, start, end):
        if member.type in _PLAIN and not member.issparse():
            regular[posixpath.normpath(member.name)] = member.offset_data, member.size
        named = _SAMPLE_NAME.fullmatch(member.name)
        if member.isdir():
            continue
        if named is None or _is_hidden(member.name):
            left_out["hidden member" if _is_hidden(member.name) else "member without an extension"] += 1
            continue
        key, extension = named[1], named[2].rpartition(".")[2].lower()
        if group is not None and group.key != key:
            yield from _finish(group, path, left_out)
        if group is None or group.key != key:
            group = _Group(key)
        if extension in IMAGE_EXTENSIONS:
            _add_image(group, member, _locate(member, regular, path), path)
        elif labels.wants(named[2].lower()):
            _add_label(group, member, _locate(member, regular, path), file, path, labels)
        else:
            group.others.append(extension)
    if group is not None:
        yield from _finish(group, path, left_out)


def _is_hidden(name: str) -> bool:
    """Return whether a member is metadata of an operating system or a tool, as in folders."""
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in name.split("/"))


def _locate(member: tarfile.TarInfo, regular: dict[str, tuple[int, int]], path: str) -> tuple[int, int]:
    """Return offset and size of a member's content, following a hard link."""
    if member.type in _PLAIN and not member.issparse():
        return member.offset_data, member.size
    if member.islnk():
        target = posixpath.normpath(member.linkname)
        if target in regular:
            return regular[target]
        raise SourceError(
            f"member {member.name} of {path} is a hard link to {member.linkname}, which does not precede it in "
            "the archive; pack the files again with tar --hard-dereference"
        )
    if member.issym():
        raise SourceError(
            f"member {member.name} of {path} is a symbolic link; pack the files again with tar --dereference"
        )
    kind = "a sparse file" if member.issparse() else f"of type {member.type.decode(errors='replace')!r}"
    raise SourceError(f"member {member.name} of {path} is {kind}, not a regular file; pack the files again")


def _add_image(group: _Group, member: tarfile.TarInfo, where: tuple[int, int], path: str) -> None:
    if group.image is not None:
        raise SourceError(
            f"sample {group.key} in {path} holds two images, {group.image[0]} and {member.name}: names that are equal "
            "up to the first dot are one sample; keep one, or put no dots into keys"
        )
    group.image = (member.name, *where)


def _add_label(
    group: _Group,
    member: tarfile.TarInfo,
    where: tuple[int, int],
    file: BinaryIO,
    path: str,
    labels: LabelMembers,
) -> None:
    if group.label is not None:
        raise SourceError(
            f"sample {group.key} in {path} holds two labels, {group.label[0]} and {member.name}; keep one"
        )
    offset, size = where
    file.seek(offset)
    content = file.read(min(size, labels.largest + 1))
    group.label = member.name, labels.read(content, f"{member.name} in {path}")


def _finish(group: _Group, path: str, left_out: Counter[str]) -> Iterator[tuple[str, ImageMember]]:
    if group.image is None:
        if group.label is None:
            left_out["group of members without image and label"] += 1
            return
        raise SourceError(
            f"sample {group.key} in {path} holds no image beside {group.label[0]}: the members of a sample must be "
            f"neighbours, and an image is one of {', '.join(IMAGE_EXTENSIONS)}; pack the files in order of their names"
        )
    for extension in group.others:
        left_out[f".{extension} member beside an image"] += 1
    _, offset, size = group.image
    yield group.key, ImageMember(offset, size, -1 if group.label is None else group.label[1])
