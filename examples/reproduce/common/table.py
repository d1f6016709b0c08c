"""Tables that set our numbers beside the paper's."""

import json
import time
from typing import Any

import torch

from common.world import World


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

    def finish(self, world: World[Any], name: str) -> None:
        """Print the table and write it as Markdown and JSON."""
        about = {**world.about, "torch": torch.__version__, "date": time.strftime("%Y-%m-%d")}
        print("\n" + self.markdown(), flush=True)
        (world.out / f"{name}.md").write_text(self.markdown())
        content = {"title": self.title, "columns": self.columns, "rows": self.rows, "directions": self.directions}
        (world.out / f"{name}.json").write_text(json.dumps({**content, "about": about}, indent=1) + "\n")


def _shown(cell: str | float | None) -> str:
    return "-" if cell is None else cell if isinstance(cell, str) else f"{cell:.2f}"
