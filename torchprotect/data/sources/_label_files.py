"""Read one file with the labels of all samples: CSV, or JSON lines."""

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TextIO

from torchprotect.data.sources._class_numbers import RawLabel, check_raw
from torchprotect.data.sources._label_members import load_object
from torchprotect.data.store import open_parent
from torchprotect.errors import SourceError

NAMES = ("file_name", "file", "filename", "name", "path", "image", "key")
_ONE, _SEVERAL = ("label", "class"), ("labels",)
_SEPARATOR = "|"


class LabelRow(NamedTuple):
    """Name of a sample in the source, its label, and the line of the file."""

    name: str
    label: RawLabel | None
    line: int


def is_label_file(path: str) -> bool:
    """Return whether this is the name of a file with labels."""
    return path.lower().endswith((".csv", ".jsonl"))


def read_label_file(path: str) -> Iterator[LabelRow]:
    """Yield the rows of a file, a path or URL.

    Raises:
        SourceError: it cannot be read, is not UTF-8, or a row lacks something; the message has the line.
        StoreError: its store cannot be reached.
    """
    store, name = open_parent(path)
    rows = _csv_rows if path.lower().endswith(".csv") else _json_rows
    try:
        with store.open(name) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
            yield from rows(text, path)
    except UnicodeDecodeError:
        raise SourceError(f"{path} is not UTF-8; save it in this encoding") from None
    except FileNotFoundError:
        raise SourceError(f"{path}, the file with the labels, does not exist") from None
    except OSError as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"cannot read {path}: {error.strerror or error}") from error


def _csv_rows(text: TextIO, path: str) -> Iterator[LabelRow]:
    reader = csv.reader(text, strict=True)
    try:
        header = [column.strip().lower() for column in next(reader, [])]
        if not any(header):
            raise SourceError(f"{path} is empty; its first line has the names of the columns, such as file_name,label")
        if twice := [column for column in header if column and header.count(column) > 1]:
            raise SourceError(f"{path} has two columns {twice[0]!r}; keep one")
        name, label = _columns(header, path, "column")
        at_name, at_label = header.index(name), header.index(label)
        for row in reader:
            if not row:
                continue
            if len(row) != len(header):
                raise _wrong(path, reader.line_num, f"{len(row)} cells in place of {len(header)}")
            yield LabelRow(row[at_name], _csv_label(row[at_label], label, path, reader.line_num), reader.line_num)
    except csv.Error as error:
        raise _wrong(path, reader.line_num, f"no proper CSV ({error})") from error


def _csv_label(cell: str, column: str, path: str, line: int) -> RawLabel | None:
    if column in _ONE:
        return cell.strip() or None
    if not cell.strip():
        return ()
    labels = tuple(part.strip() for part in cell.split(_SEPARATOR))
    if not all(labels):
        raise _wrong(path, line, f"nothing between two {_SEPARATOR}")
    return labels


def _json_rows(text: TextIO, path: str) -> Iterator[LabelRow]:
    for line, content in enumerate(text, 1):
        if not content.strip():
            continue
        try:
            row = load_object(content)
        except ValueError as error:
            raise _wrong(path, line, f"no row: {error}") from error
        name, label = _columns(list(row), f"{path}, line {line},", "field")
        if not isinstance(row[name], str):
            raise _wrong(path, line, f"a {name!r} that is not text")
        yield LabelRow(row[name], _json_label(row[label], label, path, line), line)


def _json_label(value: Any, field: str, path: str, line: int) -> RawLabel | None:
    if isinstance(value, list) and field in _ONE:
        raise _wrong(path, line, f"a list in {field!r}; a field of several labels is called 'labels'")
    if not isinstance(value, list | None) and field in _SEVERAL:
        raise _wrong(path, line, "no list in 'labels'; a field of one label is called 'label'")
    try:
        return check_raw(value)
    except ValueError as error:
        raise _wrong(path, line, f"a label that is none: {error}") from error


def _columns(found: Sequence[str], where: str, kind: str) -> tuple[str, str]:
    """Return which columns or fields have the name and the label."""
    return _only(found, NAMES, "name", where, kind), _only(found, (*_ONE, *_SEVERAL), "label", where, kind)


def _only(found: Sequence[str], wanted: tuple[str, ...], what: str, where: str, kind: str) -> str:
    there = [column for column in wanted if column in found]
    if len(there) == 1:
        return there[0]
    has = f"several {kind}s for the {what}, {' and '.join(there)}" if there else f"no {kind} for the {what}"
    listed = ", ".join(column[:40] for column in found[:20])
    raise SourceError(f"{where} has {has}; exactly one must be called {', '.join(wanted)}, and there are: {listed}")


def _wrong(path: str, line: int, what: str) -> SourceError:
    return SourceError(f"{path}, line {line}, has {what}")
