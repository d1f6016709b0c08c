"""``torchprotect verify``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchprotect.cli._common import PassphraseFile, by_size, counted, errors_as_exit_codes, load_optional_key
from torchprotect.cli._envelope import ExpectedDigest, IdentityFiles, OpenPassphraseFile, SignerFile, load_identities
from torchprotect.cli._say import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torchprotect.data.verify import Proof

_NAMES = {
    "hmac": "its HMAC under the key that made it",
    "mac": "its MAC under the data key",
    "signature": "the signature",
    "digest": "its digest",
}


def verify(
    exports: Annotated[
        list[str],
        typer.Argument(
            help="Folder or URL of a finished export. Several under one key are also compared with each other.",
            metavar="EXPORT",
        ),
    ],
    key: Annotated[
        Path | None,
        typer.Option(help="Key file of the export: also check the HMACs of plan and manifest.", dir_okay=False),
    ] = None,
    passphrase_file: PassphraseFile = None,
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
    signer: SignerFile = None,
    expect: ExpectedDigest = None,
) -> None:
    """Hash every shard and compare it with the manifest; exit with code 1 if anything differs.

    Missing, changed and foreign files and unfinished exports are errors. Without `--key`, `--signer` or `--expect`,
    damage is found, but not a replacement of shards, plan and manifest together. Of a sealed export, the sealed files
    are hashed; with an identity or the key, they are decrypted and compared with the manifest inside instead.
    """
    with errors_as_exit_codes():
        from torchprotect import data

        result = data.verify(
            exports,
            load_optional_key(key, passphrase_file),
            identity=load_identities(identity, open_passphrase_file),
            signer=signer,
            expect=expect,
        )
        done = f"{counted(result.images, 'image')} in {counted(result.shards, 'shard')}, {by_size(result.size)}"
        say(f"{', '.join(exports)}: {done}, all match the manifest; {_vouched(result.proofs)}")


def _vouched(proofs: "Sequence[Proof]") -> str:
    """Return what the manifest itself was checked against."""
    if not proofs:
        return "the manifest itself was not checked (give --key, --identity, --signer or --expect)"
    *first, last = (_NAMES[proof] for proof in proofs)
    checked = f"the manifest was checked by {' and '.join([', '.join(first), last] if first else [last])}"
    return f"{checked}, which does not tell who made it (--signer, --expect)" if proofs == ("mac",) else checked
