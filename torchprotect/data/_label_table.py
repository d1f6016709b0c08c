"""A table of the labels of pictures that have several, which folders of classes cannot tell."""

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

from torchprotect._files import atomic_file
from torchprotect.data._labels import numbers_in
from torchprotect.data.sources import Label

_NAME = "labels.csv"


def write_label_table(folder: Path, labels: Mapping[str, Label], class_names: Sequence[str] | None) -> None:
    """Write ``labels.csv``, as ``labels_from`` of :func:`torchprotect.data.open_source` takes it.

    Args:
        folder: to write it to.
        labels: plain label of each picture, by its path below the folder.
        class_names: of the class numbers from 0 up, if they are known.
    """
    text = io.StringIO(newline="")
    table = csv.writer(text)
    table.writerow(["file_name", "labels"])
    for path, label in sorted(labels.items()):
        called = [str(number) if class_names is None else class_names[number] for number in numbers_in(label)]
        table.writerow([path, "|".join(called)])
    with atomic_file(folder / _NAME) as file:
        file.write(text.getvalue().encode(errors="surrogateescape"))
