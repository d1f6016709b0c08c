"""What `import torchprotect` adds to a process that has imported torch and torchvision: 10 fresh processes."""

import statistics
import subprocess
import sys

from _common import machine

PROGRAM = (
    "import time, torch, torchvision.transforms.v2, torchvision; start = time.perf_counter(); import torchprotect;"
    "print(time.perf_counter() - start)"
)


def main() -> None:
    runs = [
        float(subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout)
        for _ in range(11)
    ][1:]
    print(machine())
    print(
        f"import torchprotect: median {1000 * statistics.median(runs):.0f} ms, {1000 * min(runs):.0f} to "
        f"{1000 * max(runs):.0f} ms"
    )


if __name__ == "__main__":
    main()
