"""All reproductions of "One Way Scrambling by Deconvolution" in one call, with what they share made once.

``owsd_settings.py`` is left out: it asks the cloud under many keys.

Usage: python owsd_all.py --source cifar10:ROOT [--photographs SOURCE] [--scale check|smoke|paper] [--out DIR]
"""

import runpy
import sys
import time
from pathlib import Path

SCRIPTS = (*(f"usecase{n}" for n in (1, 2, 3, 4, 5)), "table5", "table6", "figure4", "attacks")


def main() -> None:
    """Run every script with the arguments given."""
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    for name in SCRIPTS:
        start = time.monotonic()
        runpy.run_path(str(Path(__file__).with_name(f"owsd_{name}.py")), run_name="__main__")
        print(f"{name}: {time.monotonic() - start:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
