"""``torchprotect inspect``."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from torchprotect.cli._common import PassphraseFile, errors_as_exit_codes, load_key
from torchprotect.cli._envelope import IdentityFiles, OpenPassphraseFile, load_identities
from torchprotect.cli._say import say

if TYPE_CHECKING:
    from torchprotect.data.owner import Owner
    from torchprotect.data.store import Store
    from torchprotect.envelope import Identity
    from torchprotect.keys import Key, LabelKey


def inspect(
    file_or_export: Annotated[
        str,
        typer.Argument(help="Key file, model file, or folder or URL of an export.", metavar="FILE_OR_EXPORT"),
    ],
    key: Annotated[
        Path | None,
        typer.Option(
            help="Key file of the export. Also show what only its owner may know: the source, and the classes with the "
            "numbers that stand for them in the export.",
            dir_okay=False,
        ),
    ] = None,
    names: Annotated[
        bool, typer.Option("--names", help="With `--key`: print only the id and the original name of each sample.")
    ] = False,
    passphrase_file: PassphraseFile = None,
    identity: IdentityFiles = None,
    open_passphrase_file: OpenPassphraseFile = None,
) -> None:
    """Describe a key file, a model file or an export, without secrets.

    A key is loaded and checked against its fingerprint; a key behind a passphrase shows only its wrapping unless
    `--passphrase-file` is given. The shards of an export are neither read nor verified; see `torchprotect verify`. A
    sealed export shows what everybody may read; with an identity, also what is inside.
    """
    with errors_as_exit_codes():
        from torchprotect.data.store import is_url

        is_export = is_url(file_or_export) or Path(file_or_export).is_dir()
        if (key is not None and not is_export) or (names and key is None):
            raise typer.BadParameter("--key and --names apply to exports, and --names also needs --key")
        if not is_export:
            facts = _of_file(Path(file_or_export), passphrase_file)
        else:
            identities = load_identities(identity, open_passphrase_file)
            owned = None if key is None else _owned(file_or_export, load_key(key, passphrase_file), identities)
            if names and owned is not None:
                _print_names(owned)
                return
            facts = _of_export(file_or_export, identities) | ({} if owned is None else _of_owner(owned))
        for name, value in facts.items():
            say(f"{name + ':':<16}{value}")


class _Owned(NamedTuple):
    """The contents of the owner's file, and the label map of the key."""

    owner: "Owner | None"
    labels: "LabelKey | None"


def _owned(export: str, key: "Key", identity: "list[Identity]") -> _Owned:
    from torchprotect import data
    from torchprotect.keys import KeyBundle

    owner = data.read_owner(export, key=key, identity=identity)
    return _Owned(owner, key.labels if isinstance(key, KeyBundle) else None)


def _of_owner(owned: _Owned) -> dict[str, Any]:
    owner, labels = owned
    if owner is None:
        return {"owner's file": "none: neither names nor classes were kept (--no-owner-file)"}
    facts: dict[str, Any] = {"source": owner.source, "names": f"{len(owner.originals):,}; --names prints them"}
    for number, name in enumerate(owner.class_names or ()):
        written = number if labels is None or number >= labels.classes else labels.map(number)
        facts[f"class {number}"] = f"{name}, written as {written}"
    return facts


def _print_names(owned: _Owned) -> None:
    from torchprotect.errors import ExportError

    if owned.owner is None:
        raise ExportError("the export has no owner's file, so its original names are not known")
    for identity, original in sorted(owned.owner.originals.items(), key=lambda item: item[1].place):
        say(f"{identity}  {original.name}")


def _of_file(path: Path, passphrase_file: Path | None) -> dict[str, Any]:
    from torchprotect import predict

    return _of_model(path) if predict.is_model_file(path) else _of_key(path, passphrase_file)


def _of_model(path: Path) -> dict[str, Any]:
    from torchprotect import predict

    header = predict.read_header(path)
    recipe = header.recipe
    return {
        "kind": "model file",
        "security claim": header.security_claim,
        "classes": header.classes,
        "several labels": "yes" if header.several_labels else "no",
        "images": str(header.shape),
        "scale": recipe.scale,
        "mean": ", ".join(f"{each:g}" for each in header.mean),
        "std": ", ".join(f"{each:g}" for each in header.std),
        "key": recipe.key,
        **({"prepare": json.dumps(recipe.preparation.describe())} if recipe.preparation else {}),
        "transform": json.dumps(recipe.transform),
    }


def _of_key(path: Path, passphrase_file: Path | None) -> dict[str, Any]:
    from torchprotect import keys

    header = keys.peek(path)
    if header.kind == "wrapped" and passphrase_file is None:
        facts = {"kind": "key file protected by a passphrase", "hint": "give --passphrase-file to see what is inside"}
        return facts | header.params | facts  # parameters of a hostile file must not replace ours
    key = load_key(path, passphrase_file)
    return {"kind": key.kind, **_flat(key.params), **_of_sharing(key), "fingerprint": key.fingerprint}


def _of_sharing(key: "Key") -> dict[str, Any]:
    from torchprotect.keys import KeyBundle

    disguise = key.transform if isinstance(key, KeyBundle) else key
    return {"shared": "one secret for all positions"} if getattr(disguise, "shared", False) else {}


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
    stated: dict[str, Any] = {name: document[name] for name in ("split", "prepare", "store") if name in document}
    return {"key": document.get("key"), **_flat(stated), "transform": json.dumps(document.get("transform"))}
