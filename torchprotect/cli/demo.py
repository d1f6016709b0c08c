"""``torchprotect demo``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from torchprotect.cli._common import errors_as_exit_codes, progress_bar
from torchprotect.cli._say import say


def demo(
    out: Annotated[Path, typer.Option(help="Folder to write; it must be new or empty.")] = Path("torchprotect-demo"),
    source: Annotated[
        str | None,
        typer.Option(
            help="Your own images, given as for `torchprotect export`.",
            show_default="the bundled Fashion-MNIST sample",
        ),
    ] = None,
) -> None:
    """Disguise 2,000 images in three ways, export, verify and read them, train on them, and write a page of results.

    Writes `index.html`, `grid.png`, `keys/` and `shards/`. Needs no other data; takes one to two minutes on two cores.
    """
    with errors_as_exit_codes():
        from torchprotect import demo as house

        start = time.monotonic()
        with progress_bar("exporting") as progress:
            result = house.run(out, source, say=say, progress=progress)
        say(f"{time.monotonic() - start:.0f} s; open {result.page.resolve()}")
