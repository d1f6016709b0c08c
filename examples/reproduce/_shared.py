"""What all reproductions share: tables that set our numbers beside the paper's."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch


class Run(Protocol):
    """What a table says about where its numbers come from."""

    @property
    def out(self) -> Path:
        """Folder for results."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Scale, source and device."""


class Table:
    """Our numbers beside the paper's, and whether the paper's direction holds."""

    def __init__(self, title: str, columns: list[str]) -> None:
        self.title, self.columns = title, columns
        self.rows: list[list[str | float | None]] = []
        self.directions: list[tuple[str, bool]] = []

    def row(self, *cells: str | float | None) -> None:
        """Add a row; ``None`` is what the paper does not give."""
        self.rows.append(list(cells))

    def direction(self, says: str, holds: bool) -> None:
        """Add a direction of the paper and whether ours agrees."""
        self.directions.append((says, bool(holds)))

    def markdown(self) -> str:
        """Return the table as text."""
        lines = [f"**{self.title}**", "", "| " + " | ".join(self.columns) + " |", "|" + "---|" * len(self.columns)]
        lines += ["| " + " | ".join(_shown(cell) for cell in row) + " |" for row in self.rows]
        lines += ["", *(f"* {says}: {'holds' if holds else 'does NOT hold'}" for says, holds in self.directions)]
        return "\n".join(lines) + "\n"

    def finish(self, run: Run, name: str) -> None:
        """Print the table and write it as Markdown and JSON."""
        about = {**run.about, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
        print("\n" + self.markdown(), flush=True)
        (run.out / f"{name}.md").write_text(self.markdown())
        content = {"title": self.title, "columns": self.columns, "rows": self.rows, "directions": self.directions}
        (run.out / f"{name}.json").write_text(json.dumps({**content, "about": about}, indent=1) + "\n")


def _shown(cell: str | float | None) -> str:
    return "-" if cell is None else cell if isinstance(cell, str) else f"{cell:.2f}"


def test_split(source: str) -> str:
    """Name the test set that goes with a training set."""
    folder, slash, name = source.rpartition("/")
    return folder + slash + name.replace("train", "test") if ".tar" in name else f"{source}:test"
