"""Options about sealed and signed exports, shared by the commands."""

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
        help="Open a sealed export with this file: an age identity, as from `torchprotect keygen identity`, or an ssh "
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
        help="Stop unless the export was signed with the key that this public key belongs to (NAME.pub of "
        "`torchprotect keygen signing`).",
        metavar="FILE",
        dir_okay=False,
        rich_help_panel=PANEL,
    ),
]
ExpectedDigest = Annotated[
    str | None,
    typer.Option(
        "--expect",
        help="Stop unless the manifest has this SHA-256, which an export prints at its end.",
        metavar="DIGEST",
        rich_help_panel=PANEL,
    ),
]
RecipientKeys = Annotated[
    list[str] | None,
    typer.Option(
        "--recipient",
        help="Seal the export for this public key (age1.. or a line of an ssh public key file). May be repeated.",
        metavar="KEY",
        rich_help_panel=PANEL,
    ),
]
RecipientsFile = Annotated[
    Path | None,
    typer.Option(
        help="Take recipients from this file, a public key in each line.",
        metavar="FILE",
        dir_okay=False,
        rich_help_panel=PANEL,
    ),
]
SealPassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="Make whoever knows the passphrase in the first line of this file a recipient too.",
        metavar="FILE",
        dir_okay=False,
        rich_help_panel=PANEL,
    ),
]
Generation = Annotated[
    int | None,
    typer.Option(
        help="Number of the data key that seals: 1 by default, and the next one where a sealed export is sealed anew. "
        "Exports with the same key, settings and generation have the same data key, wherever they are.",
        min=1,
        rich_help_panel=PANEL,
    ),
]
SigningKeyFile = Annotated[
    Path | None,
    typer.Option(
        "--sign",
        help="Sign the manifest with this key from `torchprotect keygen signing`.",
        metavar="FILE",
        dir_okay=False,
        rich_help_panel=PANEL,
    ),
]


def load_identities(files: list[Path] | None, passphrase_file: Path | None) -> "list[Identity]":
    """Return what opens a sealed export; empty if nothing was given."""
    from torchprotect.envelope import Identity

    found = [Identity.load(file) for file in files or []]
    if passphrase_file is not None:
        found.append(Identity.of_passphrase(read_passphrase(passphrase_file)))
    return found


def load_openers(
    files: list[Path] | None, open_passphrase_file: Path | None, key: Path | None, passphrase_file: Path | None
) -> "list[Opener]":
    """Return what opens a sealed export: identities, a passphrase, the key it was made with; at least one of them."""
    secret = load_optional_key(key, passphrase_file)
    openers: list[Opener] = [*load_identities(files, open_passphrase_file), *([] if secret is None else [secret])]
    if not openers:
        raise typer.BadParameter("give --identity FILE, --open-passphrase-file FILE or --key FILE")
    return openers


def load_recipients(keys: list[str] | None, file: Path | None, passphrase_file: Path | None) -> "Recipients | None":
    """Return those whom an export is to be sealed for; ``None`` if nobody was given."""
    from torchprotect.envelope import Recipients, read_recipients

    if not keys and file is None and passphrase_file is None:
        return None
    listed = [] if file is None else read_recipients(file)
    return Recipients.of(
        [*(keys or []), *listed], None if passphrase_file is None else read_passphrase(passphrase_file)
    )
