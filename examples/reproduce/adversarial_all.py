"""All tables of "Adversarial Data Encryption" in one call, with what they share made once.

Usage: python adversarial_all.py --source cifar10:ROOT --scale paper [--device cuda] [--out DIR]
"""

import runpy
import sys
import time
from pathlib import Path

SCRIPTS = (*(f"table{n}" for n in (1, 2, 3, 5, 7, 8, 9, 10, 12)), "countermeasures", "pictures")


def main() -> None:
    """Run every script with the arguments given."""
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    for name in SCRIPTS:
        start = time.monotonic()
        runpy.run_path(str(Path(__file__).with_name(f"adversarial_{name}.py")), run_name="__main__")
        print(f"{name}: {time.monotonic() - start:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
