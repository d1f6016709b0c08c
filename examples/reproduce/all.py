"""All tables of one paper in one call, with what they share made once.

Usage: python all.py adversarial|disguise|owsd --source SOURCE [--scale check|smoke|paper] [--device cuda] [--out DIR]

``owsd/settings.py`` is left out: it asks the cloud under many keys.
"""

import runpy
import sys
import time
from pathlib import Path

SCRIPTS = {
    "adversarial": (*(f"table{n}" for n in (1, 2, 3, 5, 7, 8, 9, 10, 12)), "countermeasures", "pictures"),
    "disguise": ("figure6", "figure7", "figure8", "figure9", "figure10", "table2", "cbc", "adaptive"),
    "owsd": (*(f"usecase{n}" for n in (1, 2, 3, 4, 5)), "table5", "table6", "figure4", "attacks"),
}


def main() -> None:
    """Run every script of a scheme with the other arguments."""
    _, *given = sys.argv
    if not given or given[0] not in SCRIPTS:
        raise SystemExit(__doc__)
    scheme, *arguments = given
    folder = Path(__file__).parent / scheme
    sys.path.insert(0, str(folder))  # as for a script that is called by itself
    for name in SCRIPTS[scheme]:
        script = folder / f"{name}.py"
        sys.argv = [str(script), *arguments]
        start = time.monotonic()
        runpy.run_path(str(script), run_name="__main__")
        print(f"{name}: {time.monotonic() - start:.0f} s\n", flush=True)


if __name__ == "__main__":
    main()
