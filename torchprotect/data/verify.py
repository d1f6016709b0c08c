"""Checking a finished export against its manifest."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchprotect._files import require_local
from torchprotect._inputs import type_name
from torchprotect.data import manifest as documents
from torchprotect.errors import KeyKindError, VerificationError
from torchprotect.keys import Key


@dataclass(frozen=True)
class VerifyResult:
    """Extent of a verification that found nothing wrong.

    Attributes:
        folder: the export.
        images: images its manifest lists.
        shards: shards hashed.
        size: bytes hashed.
        signature_checked: whether a key was given and the HMACs of plan and manifest were right.
    """

    folder: Path
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
    require_local(export)
    folder = Path(export)
    manifest = documents.read_manifest(folder)
    entries = manifest["shards"]
    problems = [problem for entry in entries if (problem := _check_shard(folder / entry["name"], entry)) is not None]
    expected = {documents.PLAN, documents.MANIFEST, *(entry["name"] for entry in entries)}
    problems += _check_plan(folder, manifest)
    problems += [f"{extra} does not belong here" for extra in sorted({p.name for p in folder.iterdir()} - expected)]
    if manifest.get("images") != sum(entry["count"] for entry in entries):
        problems.append("the manifest's number of images is not the sum over its shards")
    if key is not None:
        problems += _check_signatures(folder, manifest, key)
    if problems:
        raise VerificationError(f"{folder} is not what its manifest says: {'; '.join(problems)}")
    return VerifyResult(folder, manifest["images"], len(entries), sum(e["size"] for e in entries), key is not None)


def _check_shard(path: Path, entry: dict[str, Any]) -> str | None:
    """Return the problem with a shard, or ``None``."""
    try:
        if path.exists() and not path.is_file():
            return f"{path.name} is not a regular file"
        if path.stat().st_size == entry["size"] and documents.file_sha256(path) == entry["sha256"]:
            return None
    except FileNotFoundError:
        return f"{path.name} is missing"
    except OSError as error:
        return f"{path.name} cannot be read ({error.strerror})"
    return f"{path.name} was changed"


def _check_plan(folder: Path, manifest: dict[str, Any]) -> list[str]:
    if not (folder / documents.PLAN).exists():
        return [f"{documents.PLAN} is missing"]
    plan = documents.read_document(folder / documents.PLAN, documents.PLAN_FORMAT)
    return [] if manifest["plan"] == documents.digest(plan) else ["plan and manifest do not belong together"]


def _check_signatures(folder: Path, manifest: dict[str, Any], key: Key) -> list[str]:
    found = {documents.MANIFEST: manifest}
    if (folder / documents.PLAN).exists():
        found[documents.PLAN] = documents.read_document(folder / documents.PLAN, documents.PLAN_FORMAT)
    problems = []
    for name, document in sorted(found.items()):
        if document.get("key") != key.fingerprint:
            made_with = str(document.get("key"))[:12]
            problems.append(f"{name} was made with key {made_with!r}, the key given is {key.fingerprint[:12]}")
        elif not documents.is_signed(document, key.subkey("manifest")):
            problems.append(f"the HMAC of {name} is wrong")
    return problems
