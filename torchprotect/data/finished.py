"""Open a finished export, sealed or not: the single entry point for all code that reads it."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from torchprotect._inputs import type_name
from torchprotect.data import manifest as documents
from torchprotect.data._sign import read_authentic
from torchprotect.data.owner import OWNER, Owner, open_owner
from torchprotect.data.sealed_manifest import generation_of, has_mac, open_plan, parse_sealed_manifest
from torchprotect.data.store import SUFFIX, SealedStore, Store, open_store
from torchprotect.envelope import Identity, Opener, Signer
from torchprotect.envelope.data_key import DataKey
from torchprotect.envelope.identities import open_envelopes
from torchprotect.envelope.recipients import ENVELOPE, PASSPHRASE_ENVELOPE, numbered
from torchprotect.errors import EnvelopeError, InputTypeError, KeyKindError, StoreError, VerificationError
from torchprotect.keys import Key, KeyBundle

_LARGEST_ENVELOPE = 1 << 16  # bytes
MOST_ENVELOPES = 200
"""Largest number of age files that are read; more may be an attempt to keep readers busy."""

Identities: TypeAlias = Opener | Sequence[Opener] | None
"""One or more identities for a sealed export; the first that opens it is used."""


class FinishedExport(NamedTuple):
    """An opened finished export.

    Attributes:
        store: its files, with the names and contents that they have in an open export.
        manifest: manifest of the open export.
        public: the manifest of the sealed export, or ``None`` if the export is open.
        documents: content of plan and manifest of the open export, by name, if they were sealed.
    """

    store: Store
    manifest: dict[str, Any]
    public: dict[str, Any] | None = None
    documents: Mapping[str, bytes] = MappingProxyType({})

    @property
    def stored(self) -> Store:
        """The files as they are stored."""
        return self.store.inner if isinstance(self.store, SealedStore) else self.store


def open_finished(
    export: str | os.PathLike[str],
    *,
    identity: Identities = None,
    key: Key | None = None,
    signer: Signer | str | os.PathLike[str] | None = None,
    expect: str | None = None,
) -> FinishedExport:
    """Open a finished export and check its manifest; shards are not read.

    Args:
        export: its folder or URL.
        identity: opens a sealed export: path of a file of age identities or of an ssh key, an
            :class:`torchprotect.envelope.Identity`, the key it was made with, or several of these. An open export in
            its place is refused.
        key: that it was made with, if it is known: opens it if it is sealed.
        signer: who must have signed it: an Ed25519 public key, or the path of its PEM file.
        expect: digest that the manifest must have.

    Raises:
        ExportError: it is not a finished export.
        EnvelopeError: it is sealed, and no identity was given, or none that opens it; or it is not sealed.
        VerificationError: the manifest is malformed, was changed, or is not the one that signer or digest vouch for.
    """
    store = open_store(export)
    content = read_authentic(store, signer=signer, expect=expect)
    openers = as_openers(identity)
    if key is not None and not isinstance(key, Key):
        raise KeyKindError(f"key must be a Key, got {type_name(key)}; read one with keys.load")
    if not documents.is_sealed(content):
        require_no_opener(store, openers)
        return FinishedExport(store, documents.parse_manifest(content, store.path_of(documents.MANIFEST)))
    if key is not None:
        openers.append(key)
    if not openers:
        raise EnvelopeError(
            f"{store.location} is sealed: give identity=..., on the command line --identity FILE, or make an open copy "
            "with `torchprotect open`"
        )
    return open_sealed(store, content, openers)


def require_made_with(export: FinishedExport, key: Key) -> dict[str, Any]:
    """Check that an export was made with a key, and not changed since. Return the plan of the open export.

    Raises:
        KeyKindError: it was made with another key.
        VerificationError: plan or manifest were changed.
    """
    location = export.store.location
    if export.manifest["key"] != key.fingerprint:
        raise KeyKindError(
            f"{location} was made with key {export.manifest['key'][:12]}, {other_key(key, export.manifest)}"
        )
    plan = documents.read_document(export.store, documents.PLAN, documents.PLAN_FORMAT)
    signing = key.subkey("manifest")
    if not documents.is_signed(export.manifest, signing) or not documents.is_signed(plan, signing):
        raise VerificationError(f"the HMACs of {location} are wrong: it was changed")
    if export.manifest["plan"] != documents.digest(plan):
        raise VerificationError(f"{location}: plan and manifest do not belong together")
    return plan


def other_key(key: Key, document: dict[str, Any]) -> str:
    """Describe a key that is not the one of a document; a bundle may hold the right one."""
    if isinstance(key, KeyBundle) and key.transform.fingerprint == document.get("key"):
        return (
            f"which is in the bundle {key.fingerprint[:12]}: it was exported without key=bundle, so its class numbers "
            "are plain"
        )
    return f"the key given is {key.fingerprint[:12]}"


def owner_of(export: FinishedExport, key: Key) -> Owner | None:
    """Return the content of the owner's file; ``None`` if there is none.

    Raises:
        VerificationError: the file is missing, was changed or belongs to another key.
    """
    content = read_owner_file(export)
    path = export.store.path_of(OWNER)
    return None if content is None else open_owner(content, key, export.manifest["plan"], path)


def read_owner_file(export: FinishedExport) -> bytes | None:
    """Return the owner's file as it is, compared with the manifest; ``None`` if there is none.

    Raises:
        VerificationError: it is missing, or not the one in the manifest.
    """
    entry, path = export.manifest.get("owner"), export.store.path_of(OWNER)
    if entry is None:
        return None
    try:
        content = export.store.read(OWNER, entry["size"])
    except (FileNotFoundError, StoreError) as error:
        raise VerificationError(f"{path} is missing or damaged: {getattr(error, 'strerror', None) or error}") from None
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise VerificationError(f"{path} is not the one in the manifest: it was replaced")
    return content


def as_openers(identity: Identities) -> list[Opener]:
    """Return everything that may open an export, as a list.

    Raises:
        InputTypeError: something else is among them.
    """
    if identity is None:
        return []
    several = isinstance(identity, Sequence) and not isinstance(identity, str)
    openers: list[Any] = list(identity) if several else [identity]  # type: ignore[arg-type]
    for each in openers:
        if not isinstance(each, str | os.PathLike | Identity | Key):
            raise InputTypeError(
                f"identity must be a path, an Identity, a Key, or several of them, got {type_name(each)}"
            )
    return openers


def require_no_opener(store: Store, openers: Sequence[Opener]) -> None:
    """Check that no identity was given for an open export, which may have replaced a sealed one.

    Raises:
        EnvelopeError: an identity was given.
    """
    if openers:
        raise EnvelopeError(
            f"{store.location} is not sealed, but an identity was given: leave it out if you expect an open export; if "
            "not, another export was put in the place of yours"
        )


def open_sealed(store: Store, content: bytes, openers: Sequence[Opener]) -> FinishedExport:
    """Open a finished export that is sealed, and check its manifests.

    Args:
        store: store of the export.
        content: content of its manifest. It is not read again: the store might give another one the second time.
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
    opened = _read_sealed_documents(sealed, public)
    manifest = documents.parse_manifest(opened[documents.MANIFEST], sealed.path_of(documents.MANIFEST))
    inner_plan = documents.parse_document(opened[documents.PLAN], sealed.path_of(documents.PLAN), documents.PLAN_FORMAT)
    counts = [[entry["count"] for entry in each["shards"]] for each in (manifest, public)]
    plans = {manifest["plan"], documents.digest(open_plan(plan)), documents.digest(inner_plan)}
    if len(plans) > 1 or counts[0] != counts[1]:
        raise VerificationError(f"{path} and what is sealed beside it do not belong together")
    _require_signed_by_owner(store, openers, (public, plan, manifest, inner_plan))
    return FinishedExport(sealed, manifest, public, opened)


def _read_sealed_documents(sealed: SealedStore, public: dict[str, Any]) -> dict[str, bytes]:
    """Return plan and manifest of the open export; check that signature and digest vouch for them.

    The MAC does not prove that: any recipient could seal other documents.
    """
    found = {}
    for entry in public["documents"]:
        path, name = sealed.inner.path_of(entry["name"]), entry["name"].removesuffix(SUFFIX)
        try:
            content = documents.read_bytes(sealed.inner, entry["name"])
        except FileNotFoundError:
            raise VerificationError(f"{path} is missing") from None
        if hashlib.sha256(content).hexdigest() != entry["sha256"]:
            raise VerificationError(f"{path} is not the one in the manifest: it was changed or replaced")
        found[name] = sealed.unsealed(name, content)
    return found


def _require_signed_by_owner(store: Store, openers: Sequence[Opener], signed: Sequence[dict[str, Any]]) -> None:
    """Check the HMACs of all documents under each given key: recipients can forge everything else.

    The key that a document names does not matter, because a forger chooses it.
    """
    for key in openers:
        if isinstance(key, Key):
            subkey, fingerprint = key.subkey("manifest"), key.fingerprint
            if any(document.get("key") != fingerprint for document in signed):
                raise VerificationError(f"{store.location} was not made with key {fingerprint[:12]}")
            if not all(documents.is_signed(document, subkey) for document in signed):
                raise VerificationError(f"{store.location} was changed: an HMAC under the key that made it is wrong")


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
    keys = [each for each in openers if isinstance(each, Key)]
    for key in keys:
        data_key = DataKey.of_export(key, documents.digest(plan), generation)
        if data_key.commitment == public["data_key"]:
            return data_key
    others = [each for each in openers if not isinstance(each, Key)]
    if not others:
        given = " or ".join(key.fingerprint[:12] for key in keys)
        raise EnvelopeError(
            f"{store.location} was not sealed with key {given}: its plan names key {str(plan.get('key'))[:12]}"
        )
    identities = [each if isinstance(each, Identity) else Identity.load(each) for each in others]
    try:
        return open_envelopes(read_envelopes(store), identities, public["data_key"])
    except EnvelopeError as error:
        raise EnvelopeError(f"{store.location}: {error}") from None


def read_envelopes(store: Store) -> dict[str, bytes]:
    """Return the contents of a sealed export's age files, by name; files that cannot be one are left out.

    They are requested by name, because a web server may have no listing. Their numbers have no gaps.
    """
    found = {}
    for name in (ENVELOPE, PASSPHRASE_ENVELOPE, *map(numbered, range(1, MOST_ENVELOPES))):
        try:
            found[name] = store.read(name, _LARGEST_ENVELOPE)
        except FileNotFoundError:
            if name not in (ENVELOPE, PASSPHRASE_ENVELOPE):
                break
        except StoreError:  # too large, or no file
            continue
    return found
