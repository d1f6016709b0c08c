"""Opening a finished export, sealed or not: the one way in for all that read it."""

import hashlib
import os
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeAlias

from torchprotect.data import manifest as documents
from torchprotect.data._sign import read_authentic
from torchprotect.data.sealed_manifest import generation_of, has_mac, open_plan, parse_sealed_manifest
from torchprotect.data.store import SealedStore, Store, open_store
from torchprotect.envelope import Identity, Opener, Signer
from torchprotect.envelope.data_key import DataKey
from torchprotect.envelope.identities import open_envelopes
from torchprotect.envelope.recipients import is_envelope
from torchprotect.errors import VerificationError
from torchprotect.keys import Key

_LARGEST_ENVELOPE = 1 << 20  # bytes; a recipient takes about 150

Identities: TypeAlias = Opener | Sequence[Opener] | None
"""What opens a sealed export; of several, the first that does."""


class FinishedExport(NamedTuple):
    """A finished export, opened.

    Attributes:
        store: its files, by the names and with the contents that they have in an open export.
        manifest: of the open export.
        public: the manifest of the sealed export, or ``None`` if the export is open.
    """

    store: Store
    manifest: dict[str, Any]
    public: dict[str, Any] | None

    @property
    def stored(self) -> Store:
        """The files as they are stored."""
        return self.store.inner if isinstance(self.store, SealedStore) else self.store


def open_finished(
    export: str | os.PathLike[str],
    *,
    identity: Identities = None,
    signer: Signer | str | os.PathLike[str] | None = None,
    expect: str | None = None,
) -> FinishedExport:
    """Open a finished export and check its manifest; shards are not read.

    Args:
        export: its folder or URL.
        identity: opens it if it is sealed: path of a file of age identities or of an ssh key, an
            :class:`torchprotect.envelope.Identity`, the key it was made with, or several of these.
        signer: who must have signed it: an Ed25519 public key, or the path of its PEM file.
        expect: digest that the manifest must have.

    Raises:
        ExportError: it is no finished export.
        EnvelopeError: it is sealed, and no identity was given, or none that opens it.
        VerificationError: the manifest is malformed, was changed, or is not the one that signer or digest vouch for.
    """
    store = open_store(export)
    content = read_authentic(store, signer=signer, expect=expect)
    openers = as_openers(identity)
    if openers and documents.is_sealed(content):
        return open_sealed(store, content, openers)
    return FinishedExport(store, documents.parse_manifest(content, store.path_of(documents.MANIFEST)), None)


def as_openers(identity: Identities) -> list[Opener]:
    """Return a list of all that may open an export."""
    if identity is None:
        return []
    return [identity] if isinstance(identity, str | os.PathLike | Identity | Key) else list(identity)


def open_sealed(store: Store, content: bytes, openers: Sequence[Opener]) -> FinishedExport:
    """Open a finished export that is sealed, and check its manifests.

    Args:
        store: of the export.
        content: of its manifest. It is not read again: the store might give another one the second time.
        openers: may open it.
    """
    path = store.path_of(documents.MANIFEST)
    public, plan = parse_sealed_manifest(content, path), read_sealed_plan(store)
    data_key = _unwrap(store, openers, plan, public)
    if not has_mac(public, data_key):
        raise VerificationError(f"{path} was changed: its MAC under the data key is wrong")
    if public["plan"] != documents.digest(plan):
        raise VerificationError(f"{store.location}: plan and manifest do not belong together")
    sealed = SealedStore(store, data_key, public["plan"], len(public["shards"]))
    manifest = _read_sealed_documents(sealed, public)
    counts = [[entry["count"] for entry in each["shards"]] for each in (manifest, public)]
    if manifest["plan"] != documents.digest(open_plan(plan)) or counts[0] != counts[1]:
        raise VerificationError(f"{path} and the manifest sealed beside it do not belong together")
    return FinishedExport(sealed, manifest, public)


def _read_sealed_documents(sealed: SealedStore, public: dict[str, Any]) -> dict[str, Any]:
    """Return the open manifest; check that what is sealed is what signature and digest vouch for.

    The MAC does not tell that: any recipient could seal other documents.
    """
    found = []
    for entry in public["documents"]:
        path = sealed.inner.path_of(entry["name"])
        try:
            content = documents.read_bytes(sealed.inner, entry["name"])
        except FileNotFoundError:
            raise VerificationError(f"{path} is missing") from None
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise VerificationError(f"{path} is not the one in the manifest: it was changed or replaced")
        found.append(content)
    opened = sealed.unsealed(documents.MANIFEST, found[0])
    return documents.parse_manifest(opened, sealed.path_of(documents.MANIFEST))


def read_sealed_plan(store: Store) -> dict[str, Any]:
    """Read the plan of a sealed export."""
    try:
        return documents.read_document(store, documents.PLAN, documents.PLAN_FORMAT)
    except FileNotFoundError:
        raise VerificationError(f"{store.path_of(documents.PLAN)} is missing") from None


def _unwrap(store: Store, openers: Sequence[Opener], plan: dict[str, Any], public: dict[str, Any]) -> DataKey:
    generation = generation_of(plan, store.path_of(documents.PLAN))
    if generation is None:
        raise VerificationError(f"{store.location}: the manifest is of a sealed export, the plan of an open one")
    return open_envelopes(
        read_envelopes(store),
        openers,
        plan=documents.digest(plan),
        generation=generation,
        commitment=public["data_key"],
    )


def read_envelopes(store: Store) -> dict[str, bytes]:
    """Return the contents of a sealed export's age files, by name."""
    return {name: store.read(name, _LARGEST_ENVELOPE) for name in sorted(store.entries()) if is_envelope(name)}
