"""All figures and tables of "Image Disguising" in one call, with what they share made once.

Usage: python disguise_all.py --source mnist:ROOT --source fashion-mnist:ROOT [--scale SCALE] [--out DIR]
"""

import runpy
import sys
import time
from pathlib import Path

SCRIPTS = ("figure6", "figure7", "figure8", "figure9", "figure10", "table2", "cbc", "adaptive")


def main() -> None:
    """Run every script with the arguments given."""
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    for name in SCRIPTS:
        start = time.monotonic()
        runpy.run_path(str(Path(__file__).with_name(f"disguise_{name}.py")), run_name="__main__")
        print(f"{name}: {time.monotonic() - start:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
