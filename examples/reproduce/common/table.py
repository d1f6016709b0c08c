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
        verdict: ``"holds"``, ``"does not hold"``, ``"undecided"`` (repetitions disagree), ``"incomplete"`` (some
            repetitions are not measured) or ``"not measured"``.
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
        measured = _measured(margins)
        agree = sum(margin > 0 for margin in measured)
        verdict = {len(measured): "holds", 0: "does not hold"}.get(agree, "undecided")
        count = f", {agree} of {len(measured)}"
        if not measured:
            verdict, by = "not measured", ""
        elif len(measured) < len(margins):
            verdict, by = "incomplete", f"{shown(measured)}{count}; {len(margins)} are planned"
        else:
            by = f"{shown(measured)}{count if len(measured) > 1 else ''}"
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
    """Return the mean over the repetitions that are measured."""
    return statistics.fmean(_measured(values) or [math.nan])


def numbers(found: Sequence[Mapping[str, float]], name: str) -> list[float]:
    """Return one number of each repetition."""
    return [each[name] for each in found]


def minus(left: Sequence[float], right: Sequence[float], constant: float = 0.0) -> list[float]:
    """Return by how much one number is above another plus a constant, at each repetition."""
    return [one - other - constant for one, other in zip(left, right, strict=True)]


def spread(values: Sequence[float]) -> float | None:
    """Return the standard deviation over the repetitions that are measured."""
    measured = _measured(values)
    if values and not measured:
        return math.nan
    return statistics.stdev(measured) if len(measured) > 1 else None


def shown(values: Sequence[float]) -> str:
    """Return mean and standard deviation over the repetitions that are measured."""
    measured = _measured(values)
    if not measured:
        return "not run" if values else ""
    return f"{mean(measured):.1f}" + (f" ± {spread(measured):.1f}" if len(measured) > 1 else "")


def highest(values: Sequence[float]) -> float:
    """Return the largest of several numbers, NaN if one of them is not measured."""
    return math.nan if any(map(math.isnan, values)) else max(values)


def lowest(values: Sequence[float]) -> float:
    """Return the smallest of several numbers, NaN if one of them is not measured."""
    return math.nan if any(map(math.isnan, values)) else min(values)


def _measured(values: Sequence[float]) -> list[float]:
    return [value for value in values if not math.isnan(value)]


def _cell(cell: Number) -> str:
    if isinstance(cell, float):
        return "not run" if math.isnan(cell) else f"{cell:.2f}"
    return "-" if cell is None else cell


def _jsonable(row: list[Number]) -> list[Number]:
    return ["not run" if isinstance(cell, float) and math.isnan(cell) else cell for cell in row]
