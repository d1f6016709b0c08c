"""What the kernels' benchmarks share: contestants, goals, a run of many cases, its tables."""

import argparse
import contextlib
import ctypes
import json
import statistics
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch
from _common import Action, cuda_clock, interleave, machine, wall_clock
from torch import Tensor

LEVELS = ("portable", "AVX2 and AES-NI", "AVX-512 and VAES")
COPY = "copy_"
REFERENCE = "reference overload"


@dataclass(frozen=True)
class Contestant:
    """One way to do the work of a case.

    Attributes:
        run: does it once and returns the result.
        role: ``"ours"``; ``"peer"``, another way to the same result, which is checked; ``"limit"``, the copy that no
            way is to beat; ``"other"``, less work or other work, for comparison.
        work: bytes, operations or images of one call, where they differ from the case's.
    """

    name: str
    run: Action
    role: Literal["ours", "peer", "limit", "other"] = "peer"
    work: float | None = None


@dataclass(frozen=True)
class Goal:
    """A figure of the issue's table.

    Attributes:
        text: what the figure is, such as ``"of copy_"``.
        bound: the goal; ``None`` where there is none.
        against: contestants to compare with, of which the fastest counts; none for our own rate.
        limit: one that counts in place of the fastest where it is slower still.
        at_most: the figure is our time over theirs, and is to be small; else our speed over theirs.
        ours: which contestant is meant; the first one if not given.
    """

    text: str
    bound: float | None
    against: Sequence[str] = ()
    at_most: bool = False
    ours: str | None = None
    limit: str | None = None

    def __str__(self) -> str:
        if self.bound is None:
            return f"{self.text}, no goal"
        return f"{'<=' if self.at_most else '>='} {self.bound:g} {self.text}"


@dataclass(frozen=True)
class Case:
    """Contestants that are timed in one interleaved run; the first is ours.

    Attributes:
        work: what one call gets done, for the rate: bytes, operations or images.
        unit: ``"GB/s"``, ``"GFLOP/s"`` or ``"kimages/s"``.
        tolerance: how far results may differ from ours, relatively; 0 asks for the same bits.
        slow: one call takes seconds: a third of the rounds.
    """

    name: str
    contestants: list[Contestant]
    goals: list[Goal]
    work: float
    unit: str = "GB/s"
    tolerance: float = 0.0
    slow: bool = False

    def work_of(self, name: str) -> float:
        """Return the work in one call of a contestant."""
        return next(c.work or self.work for c in self.contestants if c.name == name)


Builder = Callable[[], Case]


@dataclass(frozen=True)
class Setup:
    """How the benchmarks run, from the command line."""

    device: torch.device
    threads: int
    rounds: int
    quick: bool
    kernels: str

    @property
    def cuda(self) -> bool:
        """Whether a GPU is measured."""
        return self.device.type == "cuda"

    @property
    def shortest(self) -> float:
        """Seconds below which a timing repeats its call."""
        return 0.0005 if self.quick else 0.01

    def batch(self, cpu: int, cuda: int) -> int:
        """Choose a number of images; a few of them for a smoke test."""
        full = cuda if self.cuda else cpu
        return max(2, full // 256) if self.quick else full

    def image(self, *shape: int, dtype: torch.dtype = torch.uint8) -> Tensor:
        """Draw random pixels; grey levels for floating point too."""
        return torch.randint(0, 256, shape, dtype=torch.uint8, device=self.device).to(dtype)

    def order(self, positions: int) -> Tensor:
        """Draw an order of blocks."""
        return torch.randperm(positions, device=self.device)

    def environment(self) -> dict[str, Any]:
        """Say what was measured where."""
        return {
            **machine(),
            "device": torch.cuda.get_device_name(self.device) if self.cuda else "cpu",
            "threads": self.threads,
            "kernels": self.kernels,
            "cuda": torch.version.cuda or "none",
            "commit": commit(),
            "rounds": self.rounds,
            "quick": self.quick,
        }


def size_of(image: Tensor) -> int:
    """Return the bytes of a tensor."""
    return image.numel() * image.element_size()


def show_shape(image: Tensor) -> str:
    """Write dtype and shape as the issue does."""
    return f"{str(image.dtype).removeprefix('torch.')} {'x'.join(map(str, image.shape))}"


def block_grid(image: Tensor, block: tuple[int, int]) -> Tensor:
    """View ``[N, C, H, W]`` as ``[rows, columns, N, C, h, w]``."""
    (height, width), (block_h, block_w) = image.shape[-2:], block
    grid = image.unflatten(-1, (width // block_w, block_w)).unflatten(-3, (height // block_h, block_h))
    return grid.permute(2, 4, 0, 1, 3, 5)


def copy_limit(out: Tensor, image: Tensor) -> Contestant:
    """Copy the image: the least that any of our operators does."""
    return Contestant(COPY, lambda: out.copy_(image), "limit")


def commit() -> str:
    """Return the commit of the working tree, with a mark if it was changed since."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        describe = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
        return subprocess.run(describe, capture_output=True, text=True, check=True).stdout.strip()
    return "unknown"


def kernels_in_use(device: str, level: int) -> str:
    """Say which kernels serve a device, after limiting the CPU's to a level of instructions."""
    from torchprotect import ops

    if any(kinds[device] != "compiled" for kinds in ops.backend().values()):
        return "reference"
    libraries = [path for path in ops._kernels._find() if "torchprotect_cpu" in path.name]
    if device == "cuda" or not libraries:
        return "compiled"
    return LEVELS[ctypes.CDLL(str(libraries[0])).torchprotect_limit_cpu_level(level)]


def measure(case: Case, setup: Setup) -> dict[str, Any]:
    """Check that all contestants agree, time them, and judge the goals."""
    _require_agreement(case)
    rounds = max(3, setup.rounds // 3) if case.slow and not setup.quick else setup.rounds
    actions = {c.name: c.run for c in case.contestants}
    seconds = interleave(actions, rounds, setup.shortest, cuda_clock if setup.cuda else wall_clock)
    return {
        "name": case.name,
        "unit": case.unit,
        "contestants": {c.name: _summary(c, seconds[c.name], case) for c in case.contestants},
        "goals": [_judge(goal, seconds, case) for goal in case.goals],
    }


def _require_agreement(case: Case) -> None:
    """Run who claims our result once; each result is wiped, so that nobody passes with what another has written."""
    first, others = case.contestants[0], [c for c in case.contestants if c.role == "peer"]
    result = first.run()
    if not others:
        return
    expected = result.clone()
    result.zero_()
    for other in others:
        result = other.run()
        if case.tolerance:
            torch.testing.assert_close(result, expected, rtol=case.tolerance, atol=case.tolerance * 255)
        elif not torch.equal(result, expected):
            raise ValueError(f"{case.name}: {other.name} and {first.name} differ")
        result.zero_()


def _summary(contestant: Contestant, seconds: list[float], case: Case) -> dict[str, Any]:
    median = statistics.median(seconds)
    low, _, high = statistics.quantiles(seconds, n=4) if len(seconds) > 1 else (median,) * 3
    return {
        "role": contestant.role,
        "median_s": median,
        "spread_percent": 100 * (high - low) / median,
        "rate": case.work_of(contestant.name) / median / _unit_size(case.unit),
    }


def _unit_size(unit: str) -> float:
    return 1e3 if unit.startswith("k") else 1e9


def _judge(goal: Goal, seconds: dict[str, list[float]], case: Case) -> dict[str, Any]:
    """Compare pair by pair, so that what slows a whole round down does not count."""

    def rates(name: str) -> list[float]:
        return [case.work_of(name) / value for value in seconds[name]]

    name = goal.ours or case.contestants[0].name

    def typical(name: str) -> float:
        return statistics.median(rates(name))

    ours, against = rates(name), max(goal.against, key=typical, default=None)
    if against is not None and goal.limit is not None:
        against = min(against, goal.limit, key=typical)
    base = [_unit_size(case.unit)] * len(ours) if against is None else rates(against)
    ratio = statistics.median(o / b for o, b in zip(ours, base, strict=True))
    figure = 1 / ratio if goal.at_most else ratio
    met = None
    if goal.bound is not None:
        met = figure <= goal.bound if goal.at_most else figure >= goal.bound
    return {"ours": name, "goal": str(goal), "bound": goal.bound, "against": against, "ratio": figure, "met": met}


def show(result: dict[str, Any]) -> None:
    """Print one case."""
    print(f"\n{result['name']}")
    print(f"  {'':<52}{'median ms':>12}{'spread %':>10}{result['unit']:>11}")
    for name, row in result["contestants"].items():
        marked = f"{name} ({row['role']})"
        print(f"  {marked:<52}{1000 * row['median_s']:>12.4f}{row['spread_percent']:>10.1f}{row['rate']:>11.4g}")
    for goal in result["goals"]:
        who = goal["against"] if goal["against"] not in (None, COPY) else ""
        print(f"  -> {goal['ours']}: {goal['ratio']:.3g} ({goal['goal']}) {verdict(goal)} {who and f'[{who}]'}")


def verdict(goal: dict[str, Any]) -> str:
    """Write how a goal came out."""
    return {None: "-", True: "met", False: "missed"}[goal["met"]]


def _forget_verdicts(result: dict[str, Any]) -> None:
    for goal in result["goals"]:
        goal["met"] = None


def run_cases(builders: Sequence[Builder], setup: Setup) -> list[dict[str, Any]]:
    """Build, measure and print one case after the other; only one is in memory at a time."""
    results = []
    for build in builders:
        results.append(measure(build(), setup))
        if setup.quick:  # tiny sizes say nothing about the goals
            _forget_verdicts(results[-1])
        if setup.cuda:
            torch.cuda.empty_cache()
        show(results[-1])
    return results


def two_threads(build: Builder, setup: Setup, bound: float = 1.6) -> Case:
    """Make of a case one that compares our operator, and the copy, on one thread and on two."""
    case = build()
    ours, limit = case.contestants[0], next(c for c in case.contestants if c.role == "limit")
    contestants = [
        Contestant(f"{c.name}, {n} thread{'s' if n > 1 else ''}", partial(_on_threads, n, c.run), c.role)
        for c in (ours, limit)
        for n in (2, 1)
    ]
    goals = [
        Goal("x one thread", bound, [contestants[1].name]),
        Goal("x one thread", None, [contestants[3].name], ours=contestants[2].name),
    ]
    return Case(f"{case.name}, two threads", contestants, goals, case.work, case.unit)


def _on_threads(threads: int, run: Action) -> object:
    torch.set_num_threads(threads)
    return run()


def read_setup(description: str | None, name: str, devices: Sequence[str] = ("cpu", "cuda")) -> tuple[Setup, Path]:
    """Read the command line, set threads and level, and return the setup and where the JSON file goes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1, help="of torch; default: 1")
    parser.add_argument("--rounds", type=int, default=None, help="default: 15, or 2 with --quick")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: a smoke test, not a measurement")
    parser.add_argument("--device", choices=devices, default="cpu")
    parser.add_argument("--level", type=int, choices=(0, 1, 2), default=2, help=f"CPU kernels: {', '.join(LEVELS)}")
    default = Path(__file__).parent / "results" / f"{name}.json"
    parser.add_argument("--out", type=Path, default=default, help="JSON file")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rounds = arguments.rounds or (2 if arguments.quick else 15)
    kernels = kernels_in_use(arguments.device, arguments.level)
    setup = Setup(torch.device(arguments.device), arguments.threads, rounds, arguments.quick, kernels)
    for key, value in setup.environment().items():
        print(f"{key}: {value}")
    return setup, arguments.out


def write_results(out: Path, title: str, setup: Setup, results: list[dict[str, Any]]) -> None:
    """Write the JSON file."""
    out.parent.mkdir(parents=True, exist_ok=True)
    content = {"title": title, "environment": setup.environment(), "cases": results}
    out.write_text(json.dumps(content, indent=2) + "\n")
    print(f"\nwritten to {out}" + (" (--quick: no measurements)" if setup.quick else ""))


def benchmark(description: str | None, name: str, cases: Callable[[Setup], list[Builder]], **options: Any) -> None:
    """Run one script: its command line, its cases, its table and its file."""
    setup, out = read_setup(description, name, **options)
    write_results(out, name, setup, run_cases(cases(setup), setup))


def summary_rows(results: list[dict[str, Any]]) -> Iterator[dict[str, str]]:
    """Yield a row a goal: our time, the best peer's, the copy's, the figure and how it came out.

    Where nothing has the same result, what the goal compares with stands for the peer.
    """
    for result in results:
        rows = result["contestants"]
        peers = [name for name, row in rows.items() if row["role"] == "peer"]
        best = min(peers, key=lambda name: rows[name]["median_s"], default=None)
        limit = next((row for row in rows.values() if row["role"] == "limit"), None)
        for goal in result["goals"]:
            if goal["bound"] is None:
                continue
            other = best or goal["against"]
            yield {
                "case": result["name"],
                "ours, ms": f"{_milliseconds(rows[goal['ours']])} {goal['ours'].removeprefix('ours, ')}",
                "best peer, ms": f"{_milliseconds(rows[other])} {other}" if other else "-",
                "copy, ms": _milliseconds(limit) if limit else "-",
                "ratio": f"{goal['ratio']:.3g}",
                "goal": goal["goal"],
                "verdict": verdict(goal),
            }


def _milliseconds(row: dict[str, Any]) -> str:
    return f"{1000 * row['median_s']:.4g}"


def print_table(rows: list[dict[str, str]]) -> None:
    """Print rows as a Markdown table with aligned columns."""
    names = list(rows[0])
    widths = [max(len(row[name]) for row in [*rows, {n: n for n in names}]) for name in names]
    for cells in (names, ["-" * w for w in widths], *([row[name] for name in names] for row in rows)):
        print("| " + " | ".join(cell.ljust(w) for cell, w in zip(cells, widths, strict=True)) + " |")
