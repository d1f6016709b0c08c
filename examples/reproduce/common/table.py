"""Tables that set our numbers beside the paper's, and claims that are checked repetition by repetition."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from common.world import World

Number = str | float | None


@dataclass(frozen=True)
class Claim:
    """What a paper says, or we say beside it, and whether our numbers agree.

    Attributes:
        says: the claim.
        paper: the paper's number, as it stands there; empty if there is none.
        ours: our number, with spread.
        verdict: ``"holds"``, ``"does not hold"``, ``"undecided"`` (repetitions disagree) or ``"not measured"``.
        by: by how much, or how many of how many repetitions agree.
        reason: why it does not hold.
    """

    says: str
    paper: str
    ours: str
    verdict: str
    by: str
    reason: str

    def __str__(self) -> str:
        reason = f" {self.reason}" if self.verdict in ("does not hold", "undecided") and self.reason else ""
        return f"{self.says}: {self.verdict}{f' ({self.by})' if self.by else ''}.{reason}"


class Table:
    """Our numbers beside the paper's, and claims."""

    def __init__(self, title: str, columns: list[str]) -> None:
        self.title, self.columns = title, columns
        self.rows: list[list[Number]] = []
        self.claims: list[Claim] = []

    def row(self, *cells: Number) -> None:
        """Add a row; ``None`` is what the paper does not give, NaN what is not measured."""
        self.rows.append([None if cell is None else cell if isinstance(cell, str) else float(cell) for cell in cells])

    def claim(
        self, says: str, margins: Sequence[float], *, ours: Sequence[float] = (), paper: str = "", reason: str = ""
    ) -> None:
        """Add a claim.

        Args:
            says: the claim.
            margins: one number for each repetition, above 0 where it agrees.
            ours: the numbers that the claim is about, one for each repetition.
            paper: the paper's number.
            reason: why the claim does not hold; shown only if it does not.
        """
        agree = sum(margin > 0 for margin in margins)
        if not margins or any(math.isnan(margin) for margin in margins):
            verdict, by = "not measured", ""
        else:
            verdict = {len(margins): "holds", 0: "does not hold"}.get(agree, "undecided")
            count = f", {agree} of {len(margins)}" if len(margins) > 1 else ""
            by = f"{shown(margins)}{count}"
        self.claims.append(Claim(says, paper, shown(ours), verdict, by, reason))

    def markdown(self) -> str:
        """Return the table as text."""
        lines = [f"**{self.title}**", "", *markdown_table(self.columns, self.rows), ""]
        return "\n".join([*lines, *(f"* {claim}" for claim in self.claims)]) + "\n"

    def finish(self, world: World[Any], name: str) -> None:
        """Print the table and write it as Markdown and JSON, unless the world only plans."""
        about = world.about()
        if world.planning:
            return
        print("\n" + self.markdown(), flush=True)
        content = {"title": self.title, "columns": self.columns, "rows": [_jsonable(row) for row in self.rows]}
        content |= {"claims": [asdict(claim) for claim in self.claims], "about": about}
        (world.out / f"{name}.md").write_text(self.markdown())
        (world.out / f"{name}.json").write_text(json.dumps(content, indent=1) + "\n")


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[Number]]) -> list[str]:
    """Return the lines of a table in Markdown."""
    lines = [columns, ["---"] * len(columns), *([_cell(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(line) + " |" for line in lines]


def mean(values: Sequence[float]) -> float:
    """Return the mean over repetitions."""
    return statistics.fmean(values)


def numbers(found: Sequence[Mapping[str, float]], name: str) -> list[float]:
    """Return one number of each repetition."""
    return [each[name] for each in found]


def minus(left: Sequence[float], right: Sequence[float], constant: float = 0.0) -> list[float]:
    """Return by how much one number is above another plus a constant, at each repetition."""
    return [one - other - constant for one, other in zip(left, right, strict=True)]


def spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation over repetitions."""
    if len(values) < 2:
        return None
    return math.nan if any(map(math.isnan, values)) else statistics.stdev(values)


def shown(values: Sequence[float]) -> str:
    """Return mean and standard deviation over repetitions."""
    if any(math.isnan(value) for value in values):
        return "not run"
    if not values:
        return ""
    return f"{mean(values):.1f}" + (f" ± {spread(values):.1f}" if len(values) > 1 else "")


def _cell(cell: Number) -> str:
    if isinstance(cell, float):
        return "not run" if math.isnan(cell) else f"{cell:.2f}"
    return "-" if cell is None else cell


def _jsonable(row: list[Number]) -> list[Number]:
    return ["not run" if isinstance(cell, float) and math.isnan(cell) else cell for cell in row]
