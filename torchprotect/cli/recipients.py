"""``torchprotect recipients``."""

from pathlib import Path
from typing import Annotated

import typer

from torchprotect.cli._common import PassphraseFile, counted, errors_as_exit_codes
from torchprotect.cli._envelope import (
    IdentityFiles,
    OpenPassphraseFile,
    RecipientsFile,
    SealPassphraseFile,
    load_openers,
    load_recipients,
)
from torchprotect.cli._say import remark, say


def recipients(
    export: Annotated[str, typer.Argument(help="Folder or URL of a sealed export.", metavar="EXPORT")],
    keys: Annotated[
        list[str] | None,
        typer.Argument(help="Public keys of recipients: `age1...` or lines of ssh public key files.", metavar="KEY"),
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Let these recipients open the export too.")] = False,
    replace: Annotated[
        bool, typer.Option("--set", help="Let only these recipients open the export from now on.")
    ] = False,
    recipients_file: RecipientsFile = None,
    seal_passphrase_file: SealPassphraseFile = None,
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
    key: Annotated[
        Path | None, typer.Option(help="Open the envelope with the key file that the export was made with.")
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Count, add or replace the recipients of a sealed export; its shards stay as they are.

    To change recipients, the command must open the export: give `--identity`, `--open-passphrase-file` or `--key`. age
    files do not name their recipients: to remove one, give all others with `--set`. Whoever could open the export
    before keeps the data key and every copy made with it.
    """
    with errors_as_exit_codes():
        from torchprotect import data

        to = load_recipients(keys, recipients_file, seal_passphrase_file)
        if add and replace:
            raise typer.BadParameter("give either --add or --set, not both")
        if (to is None) == (add or replace):
            raise typer.BadParameter("recipients need --add or --set, and --add or --set needs recipients")
        if to is not None:
            openers = load_openers(identity, open_passphrase_file, key, passphrase_file)
            (data.set_recipients if replace else data.add_recipients)(export, to, identity=openers)
        found = data.count_recipients(export)
        kinds = ", ".join(f"{number} by {kind}" for kind, number in found.items())
        say(f"{export}: {counted(sum(found.values()), 'recipient')} ({kinds}); a recipient added twice counts twice")
        if replace:
            remark(
                "note: whoever could open the export before keeps the data key and every copy made with it; to exclude "
                "them from the next release, seal this sealed export again (`torchprotect seal`), or export with a "
                "higher --generation"
            )
