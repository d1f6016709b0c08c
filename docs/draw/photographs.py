"""Draw the README's picture of colour photographs and their disguises, with fresh keys.

Usage: python docs/draw/photographs.py [OUT]
"""

import sys
from pathlib import Path

from torchprotect.demo._photographs import PHOTOGRAPH_SIDE, disguise_photographs
from torchprotect.demo._pictures import draw_grid

SHOWN = ("animals/29", "fish/28", "monuments/17")
OUT = Path(__file__).parents[1] / "images" / "photographs.png"


def main() -> None:
    """Draw the picture."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    out.write_bytes(draw_grid(disguise_photographs(SHOWN), cell=2 * PHOTOGRAPH_SIDE))


if __name__ == "__main__":
    main()
