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
        list[str] | None, typer.Argument(help="Public keys: age1.. or lines of ssh public key files.", metavar="KEY..")
    ] = None,
    add: Annotated[bool, typer.Option("--add", help="Let these open the export too.")] = False,
    replace: Annotated[
        bool, typer.Option("--set", help="Let these open the export from now on, and nobody else.")
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
    """Show how many recipients a sealed export has; add some, or replace all. Shards stay as they are.

    age files do not name their recipients. To remove one, give all the others with --set.
    """
    with errors_as_exit_codes():
        from torchprotect import data

        to = load_recipients(keys, recipients_file, seal_passphrase_file)
        if add and replace:
            raise typer.BadParameter("--add and --set exclude each other")
        if (to is None) == (add or replace):
            raise typer.BadParameter("give recipients together with --add or --set")
        if to is not None:
            openers = load_openers(identity, open_passphrase_file, key, passphrase_file)
            (data.set_recipients if replace else data.add_recipients)(export, to, identity=openers)
        found = data.count_recipients(export)
        kinds = ", ".join(f"{number} by {kind}" for kind, number in found.items())
        say(f"{export}: {counted(sum(found.values()), 'recipient')} ({kinds}); one that was added twice counts twice")
        if replace:
            remark(
                "note: whoever could open the export before keeps the data key and what they have copied; to keep them "
                "from the next release, seal this sealed export anew (`torchprotect seal`), or export with a higher "
                "--generation"
            )
