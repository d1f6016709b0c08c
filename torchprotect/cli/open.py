"""``torchprotect open``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from torchprotect.cli._common import (
    PassphraseFile,
    by_size,
    counted,
    errors_as_exit_codes,
    progress_bar,
)
from torchprotect.cli._envelope import ExpectedDigest, IdentityFiles, OpenPassphraseFile, SignerFile, load_openers
from torchprotect.cli._say import remark, say


def open_export(
    export: Annotated[str, typer.Argument(help="Folder or URL of a sealed export.", metavar="EXPORT")],
    out: Annotated[str, typer.Argument(help="Local folder to write; new or empty.", metavar="DIR")],
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
    key: Annotated[
        Path | None, typer.Option(help="Open it with the key file that the export was made with.", dir_okay=False)
    ] = None,
    passphrase_file: PassphraseFile = None,
    signer: SignerFile = None,
    expect: ExpectedDigest = None,
) -> None:
    """Write the open export that a sealed one holds to DIR.

    It is byte for byte what the same export without recipients gives. DIR appears when all of it has been checked, and
    not at all if anything is wrong.
    """
    with errors_as_exit_codes():
        from torchprotect import data

        openers = load_openers(identity, open_passphrase_file, key, passphrase_file)
        start = time.monotonic()
        with progress_bar("opening") as progress:
            result = data.open_export(export, out, identity=openers, signer=signer, expect=expect, progress=progress)
        done = f"{counted(result.images, 'image')} in {counted(result.shards, 'shard')}, {by_size(result.size)}"
        say(f"{out}: {done}, {time.monotonic() - start:.1f} s; digest {result.digest}")
        remark("note: the copy is open to whoever can read the folder; it has no signature, and a digest of its own")
