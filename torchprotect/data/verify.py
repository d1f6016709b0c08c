"""Checking a finished export against its manifest."""

import os
from dataclasses import dataclass
from typing import Any

from torchprotect._inputs import type_name
from torchprotect.data import manifest as documents
from torchprotect.data.store import Entry, Store, open_store
from torchprotect.errors import ExportError, KeyKindError, VerificationError
from torchprotect.keys import Key, KeyBundle


@dataclass(frozen=True)
class VerifyResult:
    """Extent of a verification that found nothing wrong.

    Attributes:
        location: path or URL of the export.
        images: images its manifest lists.
        shards: shards hashed.
        size: bytes hashed.
        signature_checked: whether a key was given and the HMACs of plan and manifest were right.
    """

    location: str
    images: int
    shards: int
    size: int
    signature_checked: bool


def verify(export: str | os.PathLike[str], key: Key | None = None) -> VerifyResult:
    """Hash every shard again and compare with the manifest, and the plan too; with the key, check the HMACs.

    Without the key this finds damage, but not a plan and manifest that were replaced on purpose.

    Raises:
        ExportError: it is no finished export.
        VerificationError: something differs; the message lists all of it.
    """
    if key is not None and not isinstance(key, Key):
        raise KeyKindError(f"key must be a Key, got {type_name(key)}; read one with keys.load")
    store = open_store(export)
    manifest = documents.read_manifest(store)
    plan = _read_plan(store)
    entries = manifest["shards"]
    found = store.entries()
    problems = [problem for entry in entries if (problem := _check_shard(store, entry, found)) is not None]
    problems += _check_plan(plan, manifest)
    expected = {documents.PLAN, documents.MANIFEST, *(entry["name"] for entry in entries)}
    problems += [f"{extra.rstrip('/')} does not belong here" for extra in sorted(found.keys() - expected)]
    if manifest.get("images") != sum(entry["count"] for entry in entries):
        problems.append("the manifest's number of images is not the sum over its shards")
    if key is not None:
        problems += _check_signatures(plan, manifest, key)
    if problems:
        raise VerificationError(f"{store.location} is not what its manifest says: {'; '.join(problems)}")
    return VerifyResult(
        store.location, manifest["images"], len(entries), sum(e["size"] for e in entries), key is not None
    )


def _check_shard(store: Store, entry: dict[str, Any], found: dict[str, Entry]) -> str | None:
    """Return the problem with a shard, or ``None``."""
    name = entry["name"]
    try:
        if name not in found:
            return f"{name} is missing"
        if found[name].size != entry["size"]:
            store.open(name).close()  # a FIFO has another size too, but this error says what it is
        elif documents.sha256_of(store, name) == entry["sha256"]:
            return None
    except FileNotFoundError:
        return f"{name} is missing"
    except ExportError as error:
        return f"{name} cannot be read ({error})"
    return f"{name} was changed"


def _read_plan(store: Store) -> dict[str, Any] | None:
    try:
        return documents.read_document(store, documents.PLAN, documents.PLAN_FORMAT)
    except FileNotFoundError:
        return None


def _check_plan(plan: dict[str, Any] | None, manifest: dict[str, Any]) -> list[str]:
    if plan is None:
        return [f"{documents.PLAN} is missing"]
    return [] if manifest["plan"] == documents.digest(plan) else ["plan and manifest do not belong together"]


def _check_signatures(plan: dict[str, Any] | None, manifest: dict[str, Any], key: Key) -> list[str]:
    found = {documents.MANIFEST: manifest} if plan is None else {documents.MANIFEST: manifest, documents.PLAN: plan}
    problems = []
    for name, document in sorted(found.items()):
        if document.get("key") != key.fingerprint:
            problems.append(f"{name} was made with key {str(document.get('key'))[:12]!r}, {_told(key, document)}")
        elif not documents.is_signed(document, key.subkey("manifest")):
            problems.append(f"the HMAC of {name} is wrong")
    return problems


def _told(key: Key, document: dict[str, Any]) -> str:
    """Return what another key than the one of a document is; a bundle may hold the right one."""
    if isinstance(key, KeyBundle) and key.transform.fingerprint == document.get("key"):
        return (
            f"which is in the bundle {key.fingerprint[:12]}: it was exported without key=bundle, so its class numbers "
            "are plain"
        )
    return f"the key given is {key.fingerprint[:12]}"
