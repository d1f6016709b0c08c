"""What the benchmarks share: clocks, interleaved runs, the machine, a table of seconds."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

Action = Callable[[], object]
Clock = Callable[[Action, int], float]


def wall_clock(action: Action, count: int) -> float:
    """Return the seconds that ``count`` calls take."""
    start = time.perf_counter()
    for _ in range(count):
        action()
    return time.perf_counter() - start


def cuda_clock(action: Action, count: int) -> float:
    """Return the seconds that ``count`` calls take on the current CUDA stream, between two events."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(count):
        action()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1000


def interleave(
    cases: dict[str, Callable[[], object]], rounds: int, shortest: float = 0.0, clock: Clock = wall_clock
) -> dict[str, list[float]]:
    """Run all cases once a round, each round from another one on, and return the seconds of one call of each.

    Each case is warmed up first. One that takes less than ``shortest`` seconds is called as often as that takes.
    """
    counts = {name: _repetitions(case, shortest, clock) for name, case in cases.items()}
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for round_ in range(rounds):
        first = round_ % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(clock(cases[name], counts[name]) / counts[name])
    return seconds


def _repetitions(case: Action, shortest: float, clock: Clock) -> int:
    case()
    count = 1
    while shortest and (taken := clock(case, count)) < shortest:
        count = max(count + 1, min(10 * count, round(1.2 * count * shortest / max(taken, 1e-9))))
    return count


def machine() -> dict[str, str]:
    model = "unknown"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    packages = ("torch", "torchvision", "webdataset", "pycryptodome", "cryptography", "numpy", "pillow")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{model}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **{name: _version(name) for name in packages},
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def report(title: str, seconds: dict[str, list[float]], base: str, out: str | None) -> None:
    """Print medians and ratios to ``base``, round by round; write JSON if ``out`` is given."""
    print(f"{title}\n{machine()}\n")
    print(f"{'case':<44}{'median s':>10}{'min':>9}{'max':>9}{'speed / ' + base:>20}")
    rows = {}
    for name, values in seconds.items():
        ratio = statistics.median(b / v for b, v in zip(seconds[base], values, strict=True))
        rows[name] = {"median": statistics.median(values), "min": min(values), "max": max(values), "ratio": ratio}
        print(f"{name:<44}{rows[name]['median']:>10.3f}{min(values):>9.3f}{max(values):>9.3f}{ratio:>20.2f}")
    if out:
        Path(out).write_text(json.dumps({"title": title, "machine": machine(), "cases": rows}, indent=2) + "\n")


# What follows serves the benchmarks of the operators: contestants that do the same work, and goals for ours.
