"""The setting ``labels_from``: where the labels of a source come from."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from torchprotect._files import open_regular
from torchprotect._inputs import type_name
from torchprotect.data.sources._base import Source, class_names_of, describe_source
from torchprotect.data.sources._class_numbers import RawLabel, require_class_names
from torchprotect.data.sources._label_files import LabelRow, is_label_file, read_label_file
from torchprotect.data.sources._label_members import (
    ClassMembers,
    LabelMembers,
    NoMembers,
    RawMembers,
    parse_json,
    parse_txt,
)
from torchprotect.data.sources.folder import NO_PICTURE, ImageFolderSource, Layout, not_a_picture
from torchprotect.data.sources.labelled import relabel, relabel_together
from torchprotect.data.sources.tar import TarSource
from torchprotect.errors import InputRangeError, InputTypeError, LabelError, SourceError

_EXPECTED = "none, txt, json:FIELD, or the path of a .csv or .jsonl file"


@dataclass(frozen=True)
class LabelsFrom:
    """Where labels come from.

    Attributes:
        kind: the source itself; nowhere; a field of JSON for each sample; lines of text for each sample; or one file.
        value: the field, with dots, or the path or URL of the file.
        class_names: that fix the numbers of classes.
    """

    kind: Literal["source", "none", "json", "txt", "file"]
    value: str = ""
    class_names: tuple[str, ...] | None = None

    @classmethod
    def parse(cls, given: Any, class_names: Any) -> "LabelsFrom":
        """Return the setting that the arguments of ``open_source`` stand for.

        Raises:
            InputTypeError, InputRangeError: they stand for none.
        """
        names = require_class_names(class_names)
        if given is None:
            return cls("source", "", names)
        if not isinstance(given, str | os.PathLike):
            raise InputTypeError(f"labels_from must be text or a path, got {type_name(given)}")
        text = os.fspath(given)
        kind, _, field = text.partition(":")
        if text == "none":
            if names is not None:
                raise InputRangeError("class_names are those of labels: leave them out where labels_from is none")
            return cls("none")
        if text == "txt":
            return cls("txt", "", names)
        if kind == "json" and all(field.split(".")):
            return cls("json", field, names)
        if kind != "json" and is_label_file(text):
            return cls("file", text, names)
        raise InputRangeError(f"labels_from must be {_EXPECTED}, got {text!r}")

    @property
    def layout(self) -> Layout:
        """What the folders of an image folder mean."""
        if self.kind != "source":
            return "flat"
        return "classes" if self.class_names is None else "some-classes"

    def members(self, index: Any) -> LabelMembers:
        """Return which members of tars hold labels.

        Args:
            index: index of the tars, if there is one.

        Raises:
            SourceError: there is one, and it cannot hold such labels.
        """
        if self.kind not in ("json", "txt"):
            return ClassMembers() if index is not None or self.kind == "source" else NoMembers()
        if index is not None:
            raise SourceError(
                f"an index keeps the labels of .cls members only; leave it out, or write the labels of {self.kind} "
                "members to a .csv"
            )
        return self.raw_members()

    def raw_members(self) -> RawMembers:
        """Return how a label is read from a file for each sample."""
        if self.kind == "txt":
            return RawMembers("txt", parse_txt)
        return RawMembers("json", partial(parse_json, field=tuple(self.value.split("."))))

    def attach(self, source: Source, members: LabelMembers) -> Source:
        """Return the source with these labels; see :meth:`attach_together`."""
        (labelled,) = self.attach_together([(source, members)])
        return labelled

    def attach_together(self, opened: Sequence[tuple[Source, LabelMembers]]) -> list[Source]:
        """Return sources with these labels, numbered over all of them; class folders are numbered in each.

        Args:
            opened: each source, opened by :attr:`layout`, and the members of its tars that hold labels.

        Raises:
            SourceError: labels cannot be read, or a file names samples that are not there, or in several sources.
            LabelError: no sample has a label, names and numbers are mixed, or a label is not among the class names.
        """
        if self.kind == "none":
            return [relabel(source, [None] * len(source), None, text=False) for source, _ in opened]
        if self.kind == "source":
            names = self.class_names
            return [src if names is None else relabel(src, _own(src), names, text=False) for src, _ in opened]
        found = [(inner, list(labels)) for inner, labels in self._find_all(opened)]
        if not any(label != () and label is not None for _, labels in found for label in labels):
            raise LabelError(
                f"no sample of {describe_source(opened[0][0])} has a label {self._place()}; take none for an export "
                "without labels"
            )
        return list(relabel_together(found, self.class_names, text=self._is_text))

    @property
    def _is_text(self) -> bool:
        return self.kind == "txt" or (self.kind == "file" and self.value.lower().endswith(".csv"))

    def _place(self) -> str:
        return f"in field {self.value!r} of its .json" if self.kind == "json" else f"in {self.value or 'a .txt'}"

    def _find_all(
        self, opened: Sequence[tuple[Source, LabelMembers]]
    ) -> Iterator[tuple[Source, Iterable[RawLabel | None]]]:
        """Yield the source of the images, without labels of its own, and the labels, of each."""
        if self.kind != "file":
            for source, members in opened:
                yield self._find(source, members)
            return
        sources = [source for source, _ in opened]
        yield from zip(sources, _match(sources, read_label_file(self.value), self.value), strict=True)

    def _find(self, source: Source, members: LabelMembers) -> tuple[Source, Iterator[RawLabel | None]]:
        if isinstance(source, TarSource) and isinstance(members, RawMembers):
            values = list(members.values)
            return source.unlabelled(), (None if code is None else values[code] for code in source.known_labels())
        if isinstance(source, ImageFolderSource):
            return source, _read_beside(source, self.raw_members(), self.kind)
        raise SourceError(
            f"labels from {self.kind} are members of tars, or files beside pictures in a local folder; for "
            f"{describe_source(source)} write a .csv or .jsonl"
        )


def _own(source: Any) -> Iterator[RawLabel | None]:
    """Yield a source's own labels: names of classes, where it knows them, or numbers."""
    names = class_names_of(source)
    for label in source.known_labels():
        yield label if label is None or names is None else names[label]


def _read_beside(source: ImageFolderSource, members: RawMembers, extension: str) -> Iterator[RawLabel | None]:
    """Yield the label in the file beside each picture."""
    used = set[Path]()
    for index in range(len(source)):
        path = Path(source.locate(index)).with_suffix(f".{extension}")
        try:
            with open_regular(path) as file:
                content = file.read(members.largest + 1)
        except FileNotFoundError:
            yield None
        except OSError as error:
            raise SourceError(f"cannot read {path}: {error.strerror or error}") from error
        else:
            used.add(path)
            yield members.parse(content, str(path))
    source.left_out -= Counter({not_a_picture(Path(f"x.{extension}"), NO_PICTURE): len(used)})


def _match(sources: Sequence[Source], rows: Iterator[LabelRow], path: str) -> list[list[RawLabel | None]]:
    """Return the label of each sample of each source, by its name.

    Raises:
        SourceError: the file has no rows, or rows that fit no sample, or several rows fit one, or one fits several.
    """
    names = [[source.name(index) for index in range(len(source))] for source in sources]
    counts = Counter(name for each in names for name in each)
    found: dict[str, LabelRow] = {}
    strangers, twice = list[LabelRow](), list[LabelRow]()
    empty = True
    for row in rows:
        empty = False
        if row.name not in counts:
            strangers.append(row)
        elif row.name in found:
            twice.append(row)
        found.setdefault(row.name, row)
    where = " and ".join(map(describe_source, sources))
    if empty:
        raise SourceError(f"{path} is empty: it has no rows")
    if strangers:
        raise SourceError(
            f"{path} names {_count(strangers, 'sample')} not in {where}, such as {_told(strangers[0])}; the first "
            f"sample there is called {names[0][0]!r}. A table for all splits needs all of them, with --splits"
        )
    if unclear := [name for name, count in counts.items() if count > 1 and name in found]:
        raise SourceError(
            f"{path} labels {unclear[0]!r}, a name that several samples of {where} have; rename them, or give each "
            "split a table of its own"
        )
    if twice:
        raise SourceError(
            f"{path} names {_count(twice, 'sample')} more than once, such as {_told(twice[0])}; keep one row for each"
        )
    return [[found[name].label if name in found else None for name in each] for each in names]


def _count(rows: list[LabelRow], what: str) -> str:
    return f"{len(rows):,} {what}{'' if len(rows) == 1 else 's'}"


def _told(row: LabelRow) -> str:
    return f"{row.name[:200]!r} in line {row.line}"
