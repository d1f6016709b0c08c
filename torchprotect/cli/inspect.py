"""``torchprotect inspect``."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchprotect.cli._common import PassphraseFile, errors_as_exit_codes, load_key
from torchprotect.cli._envelope import IdentityFiles, OpenPassphraseFile, load_identities
from torchprotect.cli._say import say

if TYPE_CHECKING:
    from torchprotect.data.store import Store
    from torchprotect.envelope import Identity


def inspect(
    file_or_export: Annotated[
        str, typer.Argument(help="A key file, or the folder or URL of an export.", metavar="FILE_OR_EXPORT")
    ],
    passphrase_file: PassphraseFile = None,
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
) -> None:
    """Describe a key file or an export, without secrets. Shards are not read; see `torchprotect verify`.

    Of a sealed export, what everybody may read is shown; with an identity, what is inside.
    """
    with errors_as_exit_codes():
        from torchprotect.data.store import is_url

        if is_url(file_or_export) or Path(file_or_export).is_dir():
            facts = _of_export(file_or_export, load_identities(identity, open_passphrase_file))
        else:
            facts = _of_key(Path(file_or_export), passphrase_file)
        for name, value in facts.items():
            say(f"{name + ':':<16}{value}")


def _of_key(path: Path, passphrase_file: Path | None) -> dict[str, Any]:
    from torchprotect import keys

    header = keys.peek(path)
    if header.kind == "wrapped" and passphrase_file is None:
        facts = {"kind": "key file protected by a passphrase", "hint": "give --passphrase-file to see what is inside"}
        return facts | header.params | facts  # parameters of a hostile file must not replace ours
    key = load_key(path, passphrase_file)
    return {"kind": key.kind, **_flat(key.params), "fingerprint": key.fingerprint}


def _flat(params: dict[str, Any]) -> dict[str, Any]:
    return {name: json.dumps(value) if isinstance(value, dict | list) else value for name, value in params.items()}


def _of_export(export: str, identity: "list[Identity]") -> dict[str, Any]:
    from torchprotect.data import finished, manifest, sealed_manifest
    from torchprotect.data.store import open_store

    store = open_store(export)
    names = store.entries().keys()
    if manifest.MANIFEST not in names and manifest.PLAN in names:
        return _of_unfinished(manifest.read_document(store, manifest.PLAN, manifest.PLAN_FORMAT), names)
    if identity:
        document, state = finished.open_finished(export, identity=identity).manifest, "finished, sealed; opened"
    elif manifest.is_sealed(manifest.read_manifest_bytes(store)):
        document, state = sealed_manifest.read_sealed_manifest(store), "finished, sealed"
    else:
        document, state = manifest.read_manifest(store), "finished"
    shards = document["shards"]
    return {
        "kind": "export",
        "state": state,
        "images": document.get("images"),
        "labels": document.get("labels"),
        "shards": len(shards),
        "bytes": sum(entry["size"] for entry in shards),
        "security claim": document.get("security_claim"),
        **({"distance": json.dumps(document["distance"])} if "distance" in document else {}),
        **({"signed": "yes, by whom is not checked"} if manifest.SIGNATURE in names else {}),
        **_of_envelope(store),
        "digest": manifest.sha256_of(store, manifest.MANIFEST),
        **_described(document),
    }


def _of_envelope(store: "Store") -> dict[str, Any]:
    from torchprotect.data import manifest, sealed_manifest

    try:
        plan = manifest.read_document(store, manifest.PLAN, manifest.PLAN_FORMAT)
    except FileNotFoundError:
        return {}
    generation = sealed_manifest.generation_of(plan, store.path_of(manifest.PLAN))
    return {} if generation is None else {"generation": generation}


def _of_unfinished(plan: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    from torchprotect.data import manifest
    from torchprotect.data.store import SUFFIX

    done = sum(manifest.is_shard_name(name.removesuffix(SUFFIX)) for name in names)
    state = f"unfinished: {done} shards of {plan.get('shard_size')} images so far, {plan.get('images')} images in all"
    return {"kind": "export", "state": f"{state}; run the export again", **_described(plan)}


def _described(document: dict[str, Any]) -> dict[str, Any]:
    return {"key": document.get("key"), "transform": json.dumps(document.get("transform"))}
