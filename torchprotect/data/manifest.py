"""The documents of an export: plan, reports, manifest. Each is JSON with an HMAC under the manifest sub-key."""

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from typing import Any, BinaryIO

from torchprotect._json import canonical, parse
from torchprotect.data.owner import OWNER
from torchprotect.data.store import Store
from torchprotect.errors import EnvelopeError, ExportError, StoreError, VerificationError

PLAN, MANIFEST, SIGNATURE = "plan.json", "manifest.json", "manifest.json.sig"
PLAN_FORMAT, REPORT_FORMAT, MANIFEST_FORMAT = "torchprotect-plan", "torchprotect-report", "torchprotect-export"
SEALED_FORMAT = "torchprotect-sealed-export"
VERSION = 2
MOST_CLASSES = 1_000_000  # of an export with several labels an image: readers make a row of that length for each
READABLE = (1, 2)  # version 1 has the same shards and manifests; its plans cannot be resumed
_LARGEST, _LARGEST_ENTRY = 1 << 25, 1 << 10  # bytes of a document, and more for each shard; JSON takes more memory
_SHARD_NAME = re.compile(r"shard-\d{6,}\.tar")
_REPORT_NAME = re.compile(r"report-\d{6,}\.json")
_CHUNK = 1 << 20
_EXPORTS_SHOWN = 5  # exports in a message


def shard_name(index: int) -> str:
    """Return the final file name of a shard."""
    return f"shard-{index:06d}.tar"


def is_shard_name(name: str) -> bool:
    """Return whether an export may hold a shard of this name."""
    return _SHARD_NAME.fullmatch(name) is not None


def report_name(index: int) -> str:
    """Return the file name of the report of a shard."""
    return f"report-{index:06d}.json"


def is_report_name(name: str) -> bool:
    """Return whether an unfinished export may hold a report of this name."""
    return _REPORT_NAME.fullmatch(name) is not None


def digest(plan: dict[str, Any]) -> str:
    """Return the SHA-256 of a plan without its HMAC, which ties reports and manifest to it."""
    return hashlib.sha256(canonical({name: value for name, value in plan.items() if name != "hmac"})).hexdigest()


def signed(document: dict[str, Any], subkey: bytes) -> dict[str, Any]:
    """Return the document with its HMAC-SHA256 over the canonical JSON of all other fields."""
    return {**document, "hmac": hmac.digest(subkey, canonical(document), "sha256").hex()}


def is_signed(document: dict[str, Any], subkey: bytes) -> bool:
    """Return whether the document's HMAC is right."""
    body = {name: value for name, value in document.items() if name != "hmac"}
    return hmac.compare_digest(str(document.get("hmac")).encode(), signed(body, subkey)["hmac"].encode())


def dump(document: dict[str, Any]) -> bytes:
    """Return a document as JSON for people and programs."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def read_document(store: Store, name: str, form: str) -> dict[str, Any]:
    """Read a plan or a manifest and check its format and version; see :func:`parse_document`.

    Raises:
        FileNotFoundError: it is missing.
        ExportError: it is not JSON, of another format or of a newer version.
    """
    return parse_document(read_bytes(store, name), store.path_of(name), form)


def parse_document(content: bytes, path: str, form: str, *, readable: tuple[int, ...] = READABLE) -> dict[str, Any]:
    """Parse a plan or a manifest and check its format and version.

    Args:
        content: content of the file.
        path: path of the file, for error messages.
        form: the format it must have.
        readable: versions of that format.

    Raises:
        ExportError: it is not JSON, of another format or of a newer version.
    """
    try:
        document = parse(content)
    except ValueError:
        raise ExportError(f"{path} is damaged: it is not JSON, or has a member twice") from None
    if not isinstance(document, dict) or document.get("format") != form:
        raise _wrong_format(document, path, form)
    if document.get("version") not in readable or isinstance(document["version"], bool):
        versions = " or ".join(map(str, readable))
        raise ExportError(f"{path} has another format version than {versions}; use the torchprotect that wrote it")
    return document


def _wrong_format(document: Any, path: str, form: str) -> ExportError:
    """Return the error of a file that is not of the format it should have; a sealed export is told by name."""
    found = document.get("format") if isinstance(document, dict) else None
    if form == MANIFEST_FORMAT and found == SEALED_FORMAT:
        return EnvelopeError(
            f"{path} is of a sealed export, which this does not read: make an open copy with `torchprotect open`"
        )
    return ExportError(f"{path} was not written by torchprotect")


def is_sealed(content: bytes) -> bool:
    """Return whether a manifest is that of a sealed export."""
    try:
        document = parse(content)
    except ValueError:
        return False
    return isinstance(document, dict) and document.get("format") == SEALED_FORMAT


def read_bytes(store: Store, name: str) -> bytes:
    """Read a document as it is; a hostile one is bounded by the number of files beside it."""
    try:
        return store.read(name, _LARGEST)
    except StoreError:
        if store.stat(name).size <= _LARGEST:
            raise
    return store.read(name, _LARGEST + _LARGEST_ENTRY * len(store.entries()))


def read_manifest_bytes(store: Store) -> bytes:
    """Read the manifest of a finished export, sealed or open, as it is.

    Raises:
        ExportError: the export is not finished.
    """
    try:
        return read_bytes(store, MANIFEST)
    except FileNotFoundError:
        raise ExportError(_why_unfinished(store)) from None


def read_manifest(store: Store) -> dict[str, Any]:
    """Read the manifest of a finished export; see :func:`parse_manifest`.

    Raises:
        ExportError: the export is not finished, or the manifest is of another program or version.
        VerificationError: the manifest is malformed.
    """
    return parse_manifest(read_manifest_bytes(store), store.path_of(MANIFEST))


def parse_manifest(content: bytes, path: str) -> dict[str, Any]:
    """Parse the manifest of an open export; all its members but the HMAC are of the type they should be.

    Args:
        content: content of the file.
        path: path of the file, for error messages.

    Raises:
        ExportError: it is of another program or version, or of a sealed export.
        VerificationError: it is malformed.
    """
    return require_members(parse_document(content, path, MANIFEST_FORMAT), MEMBERS, path)


def require_members(document: dict[str, Any], members: dict[str, Callable[[Any], bool]], path: str) -> dict[str, Any]:
    """Return a document whose members all fit.

    Raises:
        VerificationError: some do not, or are missing.
    """
    wrong = [name for name, fits in members.items() if not fits(document.get(name))]
    if wrong:
        raise VerificationError(f"{path} is malformed: missing or damaged: {', '.join(wrong)}")
    return document


def _why_unfinished(store: Store) -> str:
    try:
        store.stat(PLAN)
    except FileNotFoundError:
        return f"{store.location} is not a finished export: it has no {MANIFEST}{hint_at_splits(store)}"
    return f"{store.location} is an unfinished export; run the export again to finish it"


def hint_at_splits(store: Store) -> str:
    """Return a hint for those who name the folder that holds exports, such as splits."""
    if not store.local:  # looking for them would take requests
        return f"; if it holds splits, name one of them, such as {store.path_of('train')}"
    found = []
    for name in sorted(store.entries()):
        try:
            store.stat(f"{name.rstrip('/')}/{MANIFEST}")
        except (OSError, StoreError):
            continue
        found.append(store.path_of(name.rstrip("/")))
    return f"; it holds the exports {', '.join(found[:_EXPORTS_SHOWN])}: name one of them" if found else ""


def image_size(manifest: dict[str, Any]) -> tuple[int, int] | None:
    """Return the size of all images, if the last step of the transform states it."""
    size = manifest["transform"][-1].get("image_size") if manifest["transform"] else None
    if not isinstance(size, list) or len(size) != 2 or not all(map(_is_count, size)):
        return None
    return size[0], size[1]


def sha256_of(store: Store, name: str) -> str:
    """Return the SHA-256 of a file in hex."""
    with store.open(name) as file:
        return sha256_of_file(file)


def sha256_of_file(file: BinaryIO) -> str:
    """Return the SHA-256 in hex of all that is left to read in an open file."""
    digest = hashlib.sha256()
    while block := file.read(_CHUNK):
        digest.update(block)
    return digest.hexdigest()


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_digest(value: Any) -> bool:
    """Return whether this is a SHA-256 in hex."""
    return isinstance(value, str) and _DIGEST.fullmatch(value) is not None


def are_steps(value: Any) -> bool:
    """Return whether this is a list of named steps."""
    return isinstance(value, list) and all(
        isinstance(step, dict) and isinstance(step.get("name"), str) for step in value
    )


def are_entries(value: Any, name_of: Callable[[int], str], *, counted: bool = True) -> bool:
    """Return whether this is a list of files with name, size and SHA-256, and the number of samples if ``counted``."""
    return isinstance(value, list) and all(
        isinstance(entry, dict)
        and entry.get("name") == name_of(index)
        and (not counted or _is_count(entry.get("count")))
        and _is_count(entry.get("size"))
        and is_digest(entry.get("sha256"))
        for index, entry in enumerate(value)
    )


def _are_shards(value: Any) -> bool:
    return are_entries(value, shard_name)


def _is_plain(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("dtype"), str) and value.get("scale") in (1, 255)


def _is_owner(value: Any) -> bool:
    return value is None or are_entries([value], lambda index: OWNER, counted=False)


_DIGEST = re.compile(r"[0-9a-f]{64}")
MEMBERS: dict[str, Callable[[Any], bool]] = {
    "plan": is_digest,
    "key": is_digest,
    "transform": are_steps,
    "plain": _is_plain,
    "images": _is_count,
    "labels": _is_count,
    "classes": lambda value: value is None or (_is_count(value) and 1 <= value <= MOST_CLASSES),
    "shards": _are_shards,
    "prepare": lambda value: value is None or isinstance(value, dict),
    "split": lambda value: value is None or isinstance(value, str),
    "store": lambda value: value in (None, "float16"),
    "owner": _is_owner,
}
