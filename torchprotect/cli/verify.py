"""``torchprotect verify``."""

from pathlib import Path
from typing import Annotated

import typer

from torchprotect.cli._common import PassphraseFile, by_size, counted, errors_as_exit_codes, load_key
from torchprotect.cli._say import say


def verify(
    export: Annotated[str, typer.Argument(help="Folder or URL of a finished export.", metavar="EXPORT")],
    key: Annotated[Path | None, typer.Option(help="Key file: also check the signatures.", dir_okay=False)] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Hash every shard again and compare with the manifest; exit code 1 if anything differs."""
    with errors_as_exit_codes():
        from torchprotect import data

        result = data.verify(export, load_key(key, passphrase_file) if key is not None else None)
        signatures = "signatures right" if result.signature_checked else "signatures not checked (no --key)"
        done = f"{counted(result.images, 'image')} in {counted(result.shards, 'shard')}, {by_size(result.size)}"
        say(f"{export}: {done}, all as the manifest says; {signatures}")
