"""How long imports take, in fresh processes, interleaved: the package, its command line, and its rooms after torch."""

import statistics
import subprocess
import sys

from _common import machine

TORCH = "import torch, torchvision.transforms.v2, torchvision"
ROOMS = "from torchprotect import functional, keys, ops, transforms"
CASES = {
    "import torchprotect": ("pass", "import torchprotect"),
    "the command line, before a verb runs": ("pass", "import torchprotect.cli"),
    "torch and torchvision": ("pass", TORCH),
    "transforms and keys, after torch": (TORCH, ROOMS),
}
PROGRAM = "import time; {}; start = time.perf_counter(); {}; print(time.perf_counter() - start)"


def main() -> None:
    runs: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(9):
        for name, (before, statement) in CASES.items():
            command = [sys.executable, "-c", PROGRAM.format(before, statement)]
            runs[name].append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    print(machine())
    for name, seconds in runs.items():
        low, middle, high = (1000 * f(seconds[1:]) for f in (min, statistics.median, max))
        print(f"{name:<40} median {middle:.0f} ms, {low:.0f} to {high:.0f} ms")


if __name__ == "__main__":
    main()
