"""Options for sealed and signed exports, shared by the commands."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchprotect.cli._common import load_optional_key, read_passphrase

if TYPE_CHECKING:
    from torchprotect.envelope import Identity, Opener, Recipients

PANEL = "Sealed and signed exports"

IdentityFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--identity",
        help="Open a sealed export with this file: an age identity (`torchprotect keygen identity`) or an ssh "
        "private key. May be repeated.",
        metavar="FILE",
        dir_okay=False,
        rich_help_panel=PANEL,
    ),
]
OpenPassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="Open a sealed export with the passphrase in the first line of this file.",
        metavar="FILE",
        dir_okay=False,
        rich_help_panel=PANEL,
    ),
]
SignerFile = Annotated[
    Path | None,
    typer.Option(
        "--signer",
        help="Stop unless the signature of the manifest matches this public key, the .pub file that "
        "`torchprotect keygen signing` writes.",
        metavar="FILE",
        dir_okay=False,
        rich_help_panel=PANEL,
    ),
]
ExpectedDigest = Annotated[
    str | None,
    typer.Option(
        "--expect",
        help="Stop unless the SHA-256 of the manifest is this digest, which an export prints at the end.",
        metavar="DIGEST",
        rich_help_panel=PANEL,
    ),
]
RecipientKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient",
        help="Seal the export for this public key: `age1...` or a line of an ssh public key file. May be repeated.",
        metavar="KEY",
        rich_help_panel=PANEL,
    ),
]
RecipientsFile = Annotated[
    Path | None,
    typer.Option(
        help="Seal the export for the public keys in this file, one on each line.",
        metavar="FILE",
        dir_okay=False,
        rich_help_panel=PANEL,
    ),
]
SealPassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="Seal the export for everyone who knows the passphrase in the first line of this file.",
        metavar="FILE",
        dir_okay=False,
        rich_help_panel=PANEL,
    ),
]
Generation = Annotated[
    int | None,
    typer.Option(
        help="Generation of the data key that seals the export. Exports with the same key, plan and generation have "
        "the same data key, wherever they are.",
        show_default="1; one more than before when a sealed export is sealed again",
        min=1,
        rich_help_panel=PANEL,
    ),
]
SigningKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--sign",
        help="Sign the manifest with this private key from `torchprotect keygen signing`.",
        metavar="FILE",
        dir_okay=False,
        rich_help_panel=PANEL,
    ),
]


def load_identities(files: list[Path] | None, passphrase_file: Path | None) -> "list[Identity]":
    """Load the identities that open a sealed export; the list is empty if none was given."""
    from torchprotect.envelope import Identity

    found = [Identity.load(file) for file in files or []]
    if passphrase_file is not None:
        found.append(Identity.of_passphrase(read_passphrase(passphrase_file)))
    return found


def load_openers(
    files: list[Path] | None, open_passphrase_file: Path | None, key: Path | None, passphrase_file: Path | None
) -> "list[Opener]":
    """Load what opens a sealed export: identities, a passphrase or its key. At least one must be given."""
    secret = load_optional_key(key, passphrase_file)
    openers: list[Opener] = [*load_identities(files, open_passphrase_file), *([] if secret is None else [secret])]
    if not openers:
        raise typer.BadParameter(
            "nothing to open the sealed export with; give --identity FILE, --open-passphrase-file FILE or --key FILE"
        )
    return openers


def load_recipients(keys: list[str] | None, file: Path | None, passphrase_file: Path | None) -> "Recipients | None":
    """Load the recipients that an export is sealed for; ``None`` if none was given."""
    from torchprotect.envelope import Recipients, read_recipients

    if not keys and file is None and passphrase_file is None:
        return None
    listed = [] if file is None else read_recipients(file)
    return Recipients.of(
        [*(keys or []), *listed], None if passphrase_file is None else read_passphrase(passphrase_file)
    )
