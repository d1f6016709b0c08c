"""The public manifest of a sealed export, with the hashes of its files as stored.

The manifest of the open export, with the hashes of plain shards, is sealed beside the shards.
"""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from typing import Any

from torchprotect._json import canonical
from torchprotect.data import manifest as documents
from torchprotect.data.owner import OWNER
from torchprotect.data.store import SUFFIX, Store
from torchprotect.envelope.data_key import DataKey
from torchprotect.errors import EnvelopeError, VerificationError

VERSION = 1
LARGEST_GENERATION = (1 << 31) - 1
SAME_DATA_KEY = (
    "sealed under generation 1 of the data key: whoever could open another export of the same key, names, settings and "
    "generation can open this one too, even if its pictures differ. For other recipients take a new key, or a higher "
    "generation (--generation)"
)
STATED = ("classes", "prepare", "split", "store")
"""Members of a plan that its manifest repeats, if present."""

_DOCUMENTS = (documents.MANIFEST + SUFFIX, documents.PLAN + SUFFIX)
_WITH_OWNER = (documents.MANIFEST + SUFFIX, OWNER + SUFFIX, documents.PLAN + SUFFIX)
_MACS = ("mac", "hmac")


def envelope_member(generation: int) -> dict[str, int]:
    """Return the member ``envelope`` of the plan of a sealed export."""
    return {"version": VERSION, "generation": generation}


def generation_of(plan: Mapping[str, Any], path: str) -> int | None:
    """Return the generation of a sealed export from its plan; ``None`` if the export is open.

    Raises:
        EnvelopeError: the envelope has another version.
    """
    member = plan.get("envelope")
    if member is None:
        return None
    if not isinstance(member, dict) or member.get("version") != VERSION:
        raise EnvelopeError(f"{path} has another envelope than version {VERSION}; use the torchprotect that wrote it")
    generation = member.get("generation")
    if type(generation) is not int or not 1 <= generation <= LARGEST_GENERATION:
        raise VerificationError(f"{path} is malformed: its envelope has no valid generation")
    return generation


def open_plan(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Return the plan that the same export has without an envelope, unsigned."""
    return {name: value for name, value in plan.items() if name not in ("envelope", "hmac")}


def make_sealed_manifest(
    manifest: Mapping[str, Any],
    plan: Mapping[str, Any],
    shards: list[dict[str, Any]],
    sealed: Mapping[str, bytes],
    data_key: DataKey,
) -> dict[str, Any]:
    """Return the manifest of a sealed export, without the owner's HMAC.

    Args:
        manifest: manifest of the open export.
        plan: plan of the sealed one.
        shards: name, count, size and SHA-256 of each, as it is stored.
        sealed: contents of the sealed documents, by the names of their files.
        data_key: of the export.
    """
    copied = ("security_claim", "key", "transform", "plain", "images", "labels", *STATED)
    made = {name: manifest[name] for name in copied if name in manifest} | {
        "format": documents.SEALED_FORMAT,
        "version": VERSION,
        "plan": documents.digest(dict(plan)),
        "data_key": data_key.commitment,
        "documents": [
            {"name": name, "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            for name, content in sorted(sealed.items())
        ],
        "shards": shards,
    }
    return made | {"mac": data_key.mac(canonical(made))}


def has_mac(manifest: Mapping[str, Any], data_key: DataKey) -> bool:
    """Return whether a sealed manifest's MAC under the data key is right."""
    body = {name: value for name, value in manifest.items() if name not in _MACS}
    return hmac.compare_digest(str(manifest.get("mac")).encode(), data_key.mac(canonical(body)).encode())


def read_sealed_manifest(store: Store) -> dict[str, Any]:
    """Read the manifest of a sealed export; see :func:`parse_sealed_manifest`."""
    return parse_sealed_manifest(documents.read_manifest_bytes(store), store.path_of(documents.MANIFEST))


def parse_sealed_manifest(content: bytes, path: str) -> dict[str, Any]:
    """Parse the manifest of a sealed export; all its members but the MACs are of the type they should be.

    Args:
        content: content of the file.
        path: path of the file, for error messages.

    Raises:
        ExportError: it is of another program or version.
        VerificationError: it is malformed.
    """
    manifest = documents.parse_document(content, path, documents.SEALED_FORMAT, readable=(VERSION,))
    return documents.require_members(manifest, _MEMBERS, path)


def _are_documents(value: Any) -> bool:
    if not isinstance(value, list):
        return False
    names = _WITH_OWNER if len(value) == len(_WITH_OWNER) else _DOCUMENTS
    return len(value) == len(names) and documents.are_entries(value, lambda index: names[index], counted=False)


def _are_shards(value: Any) -> bool:
    return documents.are_entries(value, lambda index: documents.shard_name(index) + SUFFIX)


_MEMBERS: dict[str, Callable[[Any], bool]] = documents.MEMBERS | {
    "data_key": documents.is_digest,
    "documents": _are_documents,
    "shards": _are_shards,
}
