"""``torchprotect rekey``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from torchprotect.cli._common import PassphraseFile, by_size, counted, errors_as_exit_codes, load_key, progress_bar
from torchprotect.cli._envelope import (
    Generation,
    IdentityFiles,
    OpenPassphraseFile,
    RecipientKeys,
    RecipientsFile,
    SealPassphraseFile,
    SigningKeyFile,
    load_identities,
    load_recipients,
)
from torchprotect.cli._say import remark, say


def rekey(
    export: Annotated[str, typer.Argument(help="Folder or URL of a finished export.", metavar="EXPORT")],
    out: Annotated[str, typer.Argument(help="Folder or URL to write, as OUT of `torchprotect export`.", metavar="NEW")],
    key: Annotated[Path, typer.Option(help="Key file that the export was made with.", dir_okay=False)],
    new_key: Annotated[Path, typer.Option(help="New key file, of the same kind.", dir_okay=False)],
    workers: Annotated[int, typer.Option(help="Number of worker processes; 0 uses the main process.", min=0)] = 0,
    passphrase_file: PassphraseFile = None,
    new_passphrase_file: Annotated[
        Path | None,
        typer.Option(
            help="File whose first line is the new key's passphrase.",
            dir_okay=False,
            show_default="asked for on the terminal, if the key needs one",
        ),
    ] = None,
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
    recipient: RecipientKeys = None,
    recipients_file: RecipientsFile = None,
    seal_passphrase_file: SealPassphraseFile = None,
    generation: Generation = None,
    sign: SigningKeyFile = None,
) -> None:
    """Write a finished export again under another key, without its source.

    Use it when a key has leaked or its holder leaves. The old key still opens copies of the old export. A new export of
    a sealed one must be sealed too. Run the same command again to finish an interrupted one.
    """
    with errors_as_exit_codes():
        from torchprotect import data

        old, new, start = load_key(key, passphrase_file), load_key(new_key, new_passphrase_file), time.monotonic()
        with progress_bar("exporting") as progress:
            result = data.rekey(
                export,
                out,
                key=old,
                new_key=new,
                identity=load_identities(identity, open_passphrase_file),
                workers=workers,
                progress=progress,
                notify=lambda note: remark(f"note: {note}"),
                recipients=load_recipients(recipient, recipients_file, seal_passphrase_file),
                generation=generation,
                signing_key=sign,
            )
        done = f"{counted(result.images, 'image')} in {counted(result.shards, 'shard')}, {by_size(result.size)}"
        say(
            f"{out}: {done}, under key {new.fingerprint[:12]}, {time.monotonic() - start:.1f} s; digest {result.digest}"
        )
