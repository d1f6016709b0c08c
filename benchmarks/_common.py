"""What the benchmarks share: interleaved runs, medians, a table, the machine."""

import json
import os
import platform
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path


def interleave(cases: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Run all cases in turn, ``rounds`` times after one warm-up, and return the seconds of each."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    for round_ in range(rounds + 1):
        for name, case in cases.items():
            start = time.perf_counter()
            case()
            if round_:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def machine() -> dict[str, str]:
    model = "unknown"
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), model)
    packages = ("torch", "torchvision", "webdataset", "pycryptodome", "numpy", "pillow")
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": f"{model}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


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
