"""``torchprotect restore``."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchprotect.cli._common import PassphraseFile, counted, errors_as_exit_codes, load_key, progress_bar
from torchprotect.cli._envelope import IdentityFiles, OpenPassphraseFile, load_identities
from torchprotect.cli._say import remark, say

if TYPE_CHECKING:
    from torchprotect.data import RestoreResult


def restore(
    export: Annotated[str, typer.Argument(help="Folder or URL of a finished export.", metavar="EXPORT")],
    folder: Annotated[
        Path, typer.Argument(help="New folder to write the pictures to.", metavar="DIR", file_okay=False)
    ],
    key: Annotated[Path, typer.Option(help="Key file that the export was made with.", dir_okay=False)],
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Restore only the picture with this id or original name, with or without its folders, or the pictures "
            "of this class, by name or plain number. May be repeated.",
            metavar="ID|CLASS|NAME",
            show_default="all pictures",
        ),
    ] = None,
    workers: Annotated[int, typer.Option(help="Number of worker processes; 0 uses the main process.", min=0)] = 0,
    passphrase_file: PassphraseFile = None,
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
) -> None:
    """Restore the plain pictures of an export, under their original classes and names.

    The pictures are those that were disguised: after the preparation, if the export had one. Run the same command again
    to finish an interrupted restore. The folder of a finished restore is refused.
    """
    with errors_as_exit_codes():
        from torchprotect import data

        secret, start = load_key(key, passphrase_file), time.monotonic()
        with progress_bar("restoring") as progress:
            result = data.restore(
                export,
                folder,
                key=secret,
                only=only,
                identity=load_identities(identity, open_passphrase_file),
                workers=workers,
                progress=progress,
            )
        for note in result.notes:
            remark(f"note: {note}")
        made = f" ({result.made:,} written now)" if result.made < result.images else ""
        say(
            f"{folder}: {counted(result.images, 'picture')}{made}, {_exactness(result)}{time.monotonic() - start:.1f} s"
        )


def _exactness(result: "RestoreResult") -> str:
    if result.exact is None:
        return ""
    return "all exact, " if result.exact == result.images else f"{result.exact:,} exact, "
