"""``torchprotect demo``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from torchprotect.cli._common import errors_as_exit_codes, progress_bar
from torchprotect.cli._say import say


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write; new or empty.")] = Path("torchprotect-demo"),
    source: Annotated[str | None, typer.Option(help="Your own images, named as for `torchprotect export`.")] = None,
) -> None:
    """Disguise 2,000 real images in three ways, export and verify them, train on them, and make a page of it.

    Needs nothing but this package; takes one to two minutes on two cores.
    """
    with errors_as_exit_codes():
        from torchprotect import demo as house

        start = time.monotonic()
        with progress_bar("exporting") as progress:
            result = house.run(out, source, say=say, progress=progress)
        say(f"{time.monotonic() - start:.0f} s; open {result.page.resolve()}")
