"""All tables of one paper in one call.

Usage: python all.py adversarial|disguise|owsd --source SOURCE [--scale check|smoke|full|paper] [--out DIR]

``--plan`` only says what is left to measure and how long it takes. Every number is kept as soon as it is known: a
call that was interrupted, or stopped by ``--minutes``, goes on where it ended, and several calls share the work.

``--minutes 0`` measures nothing and only makes the tables.

``adversarial/pictures.py`` and ``owsd/settings.py``, which asks the cloud under many keys, are left out.
"""

import importlib
import sys
from pathlib import Path

SCRIPTS = {
    "adversarial": (
        *(f"table{n}" for n in (1, 2, 3, 5, 7, 8, 9)),
        "search",
        "strength",
        "countermeasures",
        "table10",
        "table12",
    ),
    "disguise": ("table2", "figure10", "adaptive", "figure8", "figure9", "cbc", "figure7", "figure6"),
    "owsd": ("table5", *(f"usecase{n}" for n in (1, 2, 3, 4, 5)), "table6", "figure4", "attacks"),
}


def main() -> None:
    """Measure what all tables of a scheme need, then make them."""
    _, *given = sys.argv
    if not given or given[0] not in SCRIPTS:
        raise SystemExit(__doc__)
    scheme, *arguments = given
    sys.argv = [f"reproduce/all.py {scheme}", *arguments]
    sys.path.insert(0, str(Path(__file__).parent / scheme))  # as for a script that is called by itself
    world = importlib.import_module(f"{scheme}_world").read_world(__doc__)
    world.run(*(importlib.import_module(name).tables for name in SCRIPTS[scheme]))


if __name__ == "__main__":
    main()
