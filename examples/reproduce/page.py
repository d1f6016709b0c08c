"""Write the results of a paper into its page: claims row by row, then all tables.

Usage: python page.py PAGE.md RESULTS    RESULTS: the folder of one scale, such as results/disguise/full

What stands between the two marks of the page is replaced.
"""

import json
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

from common.table import Number, markdown_table

BEGIN, END = "<!-- results: written by examples/reproduce/page.py -->", "<!-- end of results -->"
_COLUMNS = 110  # of a command
VERDICTS = {"holds": "holds", "does not hold": "**does not hold**"}


def rendered(folder: Path) -> str:
    """Return the results of one scale as Markdown."""
    tables = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"), key=_in_order)]
    if not tables:
        raise SystemExit(f"there are no results in {folder}")
    measured = [table for table in tables if any(map(_is_measured, table["claims"]))]
    lines = [_summary(tables), "", *_origin(measured), "", "## Claims", ""]
    rows: list[list[Number]] = []
    for table in measured:
        rows.append([f"**{table['title'].partition(':')[0]}**", "", "", ""])
        claims = filter(_is_measured, table["claims"])
        rows += [[claim["says"], claim["paper"], claim["ours"], _verdict(claim)] for claim in claims]
    lines += markdown_table(["claim", "paper", "ours", "verdict"], rows)
    lines += ["", "## All numbers", "", "± is the standard deviation over repetitions."]
    for table in measured:
        lines += ["", f"**{table['title']}**", "", *markdown_table(table["columns"], table["rows"])]
    return "\n".join(lines)


def written(page: str, results: str) -> str:
    """Return a page with results between its marks."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"the page has no marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{results}\n\n{END}{after}"


def _is_measured(claim: dict[str, str]) -> bool:
    return claim["verdict"] != "not measured"


def _summary(tables: list[dict[str, Any]]) -> str:
    """Count verdicts, and name the tables with claims that are not measured."""
    claims = [claim for table in tables for claim in table["claims"]]
    counts = Counter(claim["verdict"] for claim in claims)
    wording = {
        "holds": ("holds", "hold"),
        "does not hold": ("does not hold", "do not hold"),
        "undecided": ("is undecided, since repetitions disagree", "are undecided, since repetitions disagree"),
        "incomplete": ("is measured in some repetitions", "are measured in some repetitions"),
        "not measured": ("is not measured yet", "are not measured yet"),
    }
    parts = [f"{counts[verdict]} {words[counts[verdict] > 1]}" for verdict, words in wording.items() if counts[verdict]]
    left = [table["title"].partition(":")[0] for table in tables if not all(map(_is_measured, table["claims"]))]
    rest = f" Not or not fully measured: {'; '.join(left)}." if left else ""
    return f"Of {len(claims)} claims, {', '.join(parts)}.{rest}"


def _origin(tables: list[dict[str, Any]]) -> list[str]:
    found = {name: sorted({each for table in tables for each in table["about"][name]}) for name in ("date", "machine")}
    versions = sorted({each for table in tables for each in table["about"]["versions"]})
    if not found["date"]:
        return []
    dates = found["date"][0] if len(found["date"]) == 1 else f"{found['date'][0]} to {found['date'][-1]}"
    commands = sorted({each for table in tables for each in table["about"]["command"]})
    where = f"Measured {dates}; {'; '.join(versions)}; {'; '.join(found['machine'])}."
    return [where, "", "```", *(_on_lines(f"python examples/{command}") for command in commands), "```"]


def _on_lines(command: str) -> str:
    """Continue a long command on further lines."""
    lines = textwrap.wrap(command, _COLUMNS, break_on_hyphens=False, break_long_words=False, subsequent_indent="    ")
    return " \\\n".join(lines)


def _verdict(claim: dict[str, str]) -> str:
    by = f" ({claim['by']})" if claim["by"] else ""
    reason = f". {claim['reason']}" if claim["reason"] and claim["verdict"] in ("does not hold", "undecided") else ""
    return f"{VERDICTS.get(claim['verdict'], claim['verdict'])}{by}{reason}"


def _in_order(path: Path) -> tuple[int, int, str]:
    """Return a key that sorts tables before figures, and both by number."""
    digits = "".join(each for each in path.stem.partition("_")[0] if each.isdigit())
    kinds = ("table", "usecase", "figure")
    kind = next((rank for rank, name in enumerate(kinds) if path.stem.startswith(name)), len(kinds))
    return kind, int(digits or 0), path.stem


def main() -> None:
    """Write the page."""
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    page, folder = map(Path, sys.argv[1:])
    page.write_text(written(page.read_text(), rendered(folder)))


if __name__ == "__main__":
    main()
