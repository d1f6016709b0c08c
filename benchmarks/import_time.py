"""What `import torchprotect` adds to a process that has imported torch and torchvision: fresh processes, interleaved.

Importing torch leaves Python's garbage collector shortly before a full collection, which takes longer than this import
and falls to whatever is imported next. The second line counts it out by collecting first, and the control shows that a
module of the standard library pays for it just the same.
"""

import statistics
import subprocess
import sys

from _common import machine

CASES = {
    "import torchprotect": ("pass", "import torchprotect"),
    "import torchprotect, after gc.collect()": ("gc.collect()", "import torchprotect"),
    "control: import mailbox": ("pass", "import mailbox"),
    "control: import mailbox, after gc.collect()": ("gc.collect()", "import mailbox"),
}
PROGRAM = (
    "import gc, time, torch, torchvision.transforms.v2, torchvision; {}; start = time.perf_counter(); {};"
    "print(time.perf_counter() - start)"
)


def main() -> None:
    runs: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(9):
        for name, (before, statement) in CASES.items():
            command = [sys.executable, "-c", PROGRAM.format(before, statement)]
            runs[name].append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    print(machine())
    for name, seconds in runs.items():
        low, middle, high = (1000 * f(seconds[1:]) for f in (min, statistics.median, max))
        print(f"{name:<52} median {middle:.0f} ms, {low:.0f} to {high:.0f} ms")


if __name__ == "__main__":
    main()
