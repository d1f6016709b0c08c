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
    out: Annotated[str, typer.Argument(help="Local folder to write; it must be new or empty.", metavar="DIR")],
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
    key: Annotated[
        Path | None,
        typer.Option(help="Open the sealed export with the key file that it was made with.", dir_okay=False),
    ] = None,
    passphrase_file: PassphraseFile = None,
    signer: SignerFile = None,
    expect: ExpectedDigest = None,
) -> None:
    """Decrypt a sealed export into DIR, as an open export.

    Give `--identity`, `--open-passphrase-file` or `--key`. The files are byte for byte those of the same export without
    recipients. DIR appears once everything has been checked, and not at all if anything is wrong.
    """
    with errors_as_exit_codes():
        from torchprotect import data

        openers = load_openers(identity, open_passphrase_file, key, passphrase_file)
        start = time.monotonic()
        with progress_bar("opening") as progress:
            result = data.open_export(export, out, identity=openers, signer=signer, expect=expect, progress=progress)
        done = f"{counted(result.images, 'image')} in {counted(result.shards, 'shard')}, {by_size(result.size)}"
        say(f"{out}: {done}, {time.monotonic() - start:.1f} s; digest {result.digest}")
        remark(
            "note: the copy is not encrypted: anyone who can read the folder can read it. It has no signature, and "
            "another digest than the sealed export"
        )
