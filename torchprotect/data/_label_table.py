"""Write a table of labels for pictures with several labels, which class folders cannot express."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from torchprotect._files import atomic_file
from torchprotect.data._labels import numbers_in
from torchprotect.data.sources import Label

LABEL_TABLE = "labels.jsonl"


def write_label_table(folder: Path, labels: Mapping[str, Label], class_names: Sequence[str] | None) -> None:
    """Write ``labels.jsonl``, as ``labels_from`` of :func:`torchprotect.data.open_source` takes it.

    Args:
        folder: to write it to.
        labels: plain label of each picture, by its path below the folder.
        class_names: of the class numbers from 0 up, if they are known.
    """
    with atomic_file(folder / LABEL_TABLE) as file:
        for path, label in sorted(labels.items()):
            called = [number if class_names is None else class_names[number] for number in numbers_in(label)]
            file.write(json.dumps({"file_name": path, "labels": called}).encode() + b"\n")
