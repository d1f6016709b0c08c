"""What settings keep against what they leak, on grey pictures and on small photographs; draws the charts of the docs.

Usage: OMP_NUM_THREADS=1 python benchmarks/compare.py ROOT --work DIR [--images N]. ROOT has FashionMNIST/raw and
cifar10/*.tar.gz.

Runs `audit.compare(fast=True)` on images drawn from each training set, with its defaults: keys are new in each run,
everything else starts from one seed. Pages, JSON files and unfinished parts are kept in DIR; a set whose JSON is there
is not run again. compare.json beside this script has accuracies and leakages; docs/images gets the charts.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from _common import machine

from torchprotect import audit
from torchprotect.audit.comparison.chart import draw_picture
from torchprotect.audit.comparison.page import CHARTED

SETS = {"fashion-mnist": "fashion-mnist:{}", "cifar10": "{}/cifar10/train-{{000000..000002}}.tar.gz"}
IMAGES = Path(__file__).parents[1] / "docs" / "images"
TOLD = ("started", "cpu_seconds", "environment", "effort", "split", "trained", "probe", "skipped")


def compare(name: str, source: str, work: Path, images: int) -> audit.Comparison:
    """Return a finished comparison, from its file if there is one."""
    page = work / f"{name}.html"
    if page.exists():
        return audit.Comparison.read(page.with_suffix(".json"))
    return audit.compare(
        source, fast=True, limit=images, report=page, progress=lambda *told: print(name, *told, flush=True)
    )


def summary(found: audit.Comparison) -> dict[str, Any]:
    """Return the numbers of a comparison, without single attacks."""
    document = found.to_dict()
    rows = [{k: v for k, v in each.items() if k not in ("findings", "not_run")} for each in document["settings"]]
    kept = ("advice", "plain", "plain_probe", "chance", "frontier", *TOLD)
    return {**{name: document[name] for name in kept}, "settings": rows}


def show(name: str, found: audit.Comparison) -> None:
    """Print one line for each setting."""
    print(f"\n{name}: plain {found.plain.value:.1%}, CPU {found.facts['cpu_seconds']} s")
    for number, each in enumerate(found.settings, 1):
        leaks = [(each.leakage(level), each.worst(level)) for level in CHARTED]
        told = "  ".join("-" if worst is None else f"{leakage:.0%} {worst.called}" for leakage, worst in leaks)
        probe = "" if each.probe is None else f"{each.probe.value:.1%}"
        print(f"{number:>2} {each.setting.name:<55} {each.accuracy.value:>6.1%} {probe:>6}  {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2_000)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    arguments = parser.parse_args()
    out = Path(__file__).with_suffix(".json")
    done = json.loads(out.read_text())["sets"] if out.exists() else {}
    for name in arguments.sets:
        found = compare(name, SETS[name].format(arguments.root), arguments.work, arguments.images)
        done[name] = summary(found)
        for level in CHARTED:
            (IMAGES / f"compare-{name}-{level.value}.svg").write_text(draw_picture(found, level))
        show(name, found)
        out.write_text(json.dumps({"machine": machine(), "sets": done}, indent=1) + "\n")


if __name__ == "__main__":
    main()
