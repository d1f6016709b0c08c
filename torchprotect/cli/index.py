"""``torchprotect index``."""

from pathlib import Path
from typing import Annotated

import typer

from torchprotect.cli._common import errors_as_exit_codes
from torchprotect.cli._say import say


def index(
    export: Annotated[
        str,
        typer.Argument(
            help="Folder or URL of a finished export. Shards are listed by absolute path or by URL, so give the place "
            "where readers will find them.",
            metavar="EXPORT",
        ),
    ],
    wids: Annotated[
        Path | None,
        typer.Option(
            help="Write the index that `wids.ShardListDataset` opens for random access.",
            metavar="FILE",
        ),
    ] = None,
    croissant: Annotated[
        Path | None,
        typer.Option(
            help="Write a description in Croissant 1.0 (JSON-LD).",
            metavar="FILE",
        ),
    ] = None,
) -> None:
    """Describe a finished export to other readers, in files outside it.

    Reads only the manifest and the beginning of the first shard. Verifies nothing; see `torchprotect verify`. Give
    `--wids`, `--croissant` or both. FILE is a local path outside the export; an existing file is never overwritten.
    """
    if wids is None and croissant is None:
        raise typer.BadParameter("give --wids FILE, --croissant FILE or both")
    with errors_as_exit_codes():
        from torchprotect.data.indexes import croissant_metadata, wids_index, write_indexes

        makers = ((wids, wids_index), (croissant, croissant_metadata))
        made = [(path, make(export)) for path, make in makers if path is not None]
        write_indexes(made, export=export)
        written = " and ".join(str(path) for path, _ in made)
        say(f"{export}: described in {written}")
