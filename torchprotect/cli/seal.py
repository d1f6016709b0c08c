"""``torchprotect seal``."""

import time
from pathlib import Path
from typing import Annotated

import typer

from torchprotect.cli._common import PassphraseFile, by_size, counted, errors_as_exit_codes, load_key, progress_bar
from torchprotect.cli._envelope import (
    Generation,
    RecipientKeys,
    RecipientsFile,
    SealPassphraseFile,
    SigningKeyFile,
    load_recipients,
)
from torchprotect.cli._say import remark, say


def seal(
    export: Annotated[str, typer.Argument(help="Folder or URL of a finished export.", metavar="EXPORT")],
    out: Annotated[str, typer.Argument(help="Folder or URL to write the sealed export to.", metavar="OUT")],
    key: Annotated[Path, typer.Option(help="Key file that the export was made with.", dir_okay=False)],
    recipient: RecipientKeys = None,
    recipients_file: RecipientsFile = None,
    seal_passphrase_file: SealPassphraseFile = None,
    generation: Generation = None,
    sign: SigningKeyFile = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Seal a finished export for recipients, in another place, without its source.

    Give at least one of `--recipient`, `--recipients-file` and `--seal-passphrase-file`. Sealing an open export gives
    what `export` with recipients gives, apart from the envelope. A sealed export is sealed again under the data key of
    the next generation, which those who could open the old one do not have. If that generation was used before,
    anywhere, give a higher one. Run the same command again to finish an interrupted one.
    """
    with errors_as_exit_codes():
        from torchprotect import data
        from torchprotect.envelope import SigningKey

        to = load_recipients(recipient, recipients_file, seal_passphrase_file)
        if to is None:
            raise typer.BadParameter(
                "no recipients; give --recipient KEY, --recipients-file FILE or --seal-passphrase-file FILE"
            )
        signing_key = None if sign is None else SigningKey.load(sign)
        secret, start = load_key(key, passphrase_file), time.monotonic()
        with progress_bar("sealing") as progress:
            result = data.seal_export(
                export,
                out,
                key=secret,
                recipients=to,
                generation=generation,
                signing_key=signing_key,
                progress=progress,
            )
        for note in result.notes:
            remark(f"note: {note}")
        done = f"{counted(result.images, 'image')} in {counted(result.shards, 'shard')}, {by_size(result.size)}"
        say(f"{out}: {done}, sealed, {time.monotonic() - start:.1f} s; digest {result.digest}")
