"""The three documents of an export: plan, journal, manifest. Each is JSON with an HMAC under the manifest sub-key."""

import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torchprotect._files import atomic_file, open_regular, read_regular
from torchprotect._json import canonical, parse
from torchprotect.errors import ExportError, VerificationError

PLAN, JOURNAL, MANIFEST = "plan.json", "journal.jsonl", "manifest.json"
PLAN_FORMAT, JOURNAL_FORMAT, MANIFEST_FORMAT = "torchprotect-plan", "torchprotect-journal", "torchprotect-export"
VERSION = 2
READABLE = (1, 2)  # version 1 has the same shards and manifests; its plans cannot be resumed
_LARGEST, _LARGEST_ENTRY = 1 << 25, 1 << 10  # bytes of a document, and more for each shard; JSON takes more memory
_SHARD_NAME = re.compile(r"shard-\d{6,}\.tar")


def shard_name(index: int) -> str:
    """Return the final file name of a shard."""
    return f"shard-{index:06d}.tar"


def is_shard_name(name: str) -> bool:
    """Return whether an export may hold a shard of this name."""
    return _SHARD_NAME.fullmatch(name) is not None


def digest(plan: dict[str, Any]) -> str:
    """Return the SHA-256 of a plan without its HMAC, which ties journal and manifest to it."""
    return hashlib.sha256(canonical({name: value for name, value in plan.items() if name != "hmac"})).hexdigest()


def signed(document: dict[str, Any], subkey: bytes) -> dict[str, Any]:
    """Return the document with its HMAC-SHA256 over the canonical JSON of all other fields."""
    return {**document, "hmac": hmac.digest(subkey, canonical(document), "sha256").hex()}


def is_signed(document: dict[str, Any], subkey: bytes) -> bool:
    """Return whether the document's HMAC is right."""
    body = {name: value for name, value in document.items() if name != "hmac"}
    return hmac.compare_digest(str(document.get("hmac")).encode(), signed(body, subkey)["hmac"].encode())


def write_document(path: Path, document: dict[str, Any]) -> None:
    """Write JSON for people and programs to a temporary name, then rename it."""
    with atomic_file(path) as file:
        file.write(json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n")


def read_document(path: Path, form: str) -> dict[str, Any]:
    """Read a plan or a manifest and check its format and version.

    Raises:
        ExportError: it is missing, no JSON, of another format or of a newer version.
    """
    try:
        document = parse(read_regular(path, _largest(path.parent), ExportError))
    except FileNotFoundError:
        raise ExportError(f"{path.parent} is no finished export: it has no {path.name}") from None
    except OSError as error:
        raise ExportError(f"cannot read {path}: {error.strerror}") from error
    except ValueError:
        raise ExportError(f"{path} is damaged: it is no JSON, or has a member twice") from None
    if not isinstance(document, dict) or document.get("format") != form:
        raise ExportError(f"{path} was not written by torchprotect")
    if document.get("version") not in READABLE or isinstance(document["version"], bool):
        raise ExportError(f"{path} has another format version than {READABLE}; use the torchprotect that wrote it")
    return document


def _largest(folder: Path) -> int:
    """Return the most bytes a document may have: a hostile one is bounded by the number of files in its folder."""
    files = sum(1 for _ in os.scandir(folder)) if folder.is_dir() else 0
    return _LARGEST + _LARGEST_ENTRY * files


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read the manifest of a finished export; all its members but the HMAC are of the type they should be.

    Raises:
        ExportError: the export is not finished, or the manifest is of another program or version.
        VerificationError: the manifest is malformed.
    """
    path = folder / MANIFEST
    if not path.exists() and (folder / PLAN).exists():
        raise ExportError(f"{folder} is an unfinished export; run the export again to finish it")
    manifest = read_document(path, MANIFEST_FORMAT)
    wrong = [name for name, fits in _MEMBERS.items() if not fits(manifest.get(name))]
    if wrong:
        raise VerificationError(f"{path} is malformed: missing or damaged: {', '.join(wrong)}")
    return manifest


def image_size(manifest: dict[str, Any]) -> tuple[int, int] | None:
    """Return the size of all images, if the last step of the transform states it."""
    size = manifest["transform"][-1].get("image_size") if manifest["transform"] else None
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_count, size)):
        return None
    return size[0], size[1]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hex."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def _are_steps(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(step, dict) and isinstance(step.get("name"), str) for step in value
    )


def _are_entries(value: Any) -> bool:
    return isinstance(value, list) and all(_is_entry(entry, index) for index, entry in enumerate(value))


def _is_entry(entry: Any, index: int) -> bool:
    if not isinstance(entry, dict) or entry.get("name") != shard_name(index):
        return False
    return _is_count(entry.get("count")) and _is_count(entry.get("size")) and _is_digest(entry.get("sha256"))


def _is_plain(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("dtype"), str) and value.get("scale") in (1, 255)


_DIGEST = re.compile(r"[0-9a-f]{64}")
_MEMBERS: dict[str, Callable[[Any], bool]] = {
    "plan": _is_digest,
    "key": _is_digest,
    "transform": _are_steps,
    "plain": _is_plain,
    "images": _is_count,
    "labels": _is_count,
    "shards": _are_entries,
}
