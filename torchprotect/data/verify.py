"""Checking a finished export against its manifest."""

import contextlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO, Literal, TypeAlias, cast

from torchprotect._files import HashedReading
from torchprotect._inputs import type_name
from torchprotect.data import manifest as documents
from torchprotect.data._sign import read_authentic
from torchprotect.data.finished import (
    FinishedExport,
    Identities,
    as_openers,
    open_finished,
    open_sealed,
    other_key,
    require_no_opener,
)
from torchprotect.data.owner import LARGEST, OWNER, open_owner
from torchprotect.data.sealed_manifest import STATED, parse_sealed_manifest
from torchprotect.data.several import Exports, as_list, require_different_splits, require_one_key, require_same_classes
from torchprotect.data.store import SUFFIX, Entry, SealedStore, Store, open_store
from torchprotect.envelope import Signer
from torchprotect.envelope.recipients import is_envelope
from torchprotect.errors import ExportError, InputRangeError, KeyKindError, VerificationError
from torchprotect.keys import Key

Proof = Literal["hmac", "mac", "signature", "digest"]


@dataclass(frozen=True)
class VerifyResult:
    """Scope of a successful verification.

    Attributes:
        location: path or URL of the export, or of several.
        images: number of images that the manifest lists.
        shards: number of shards hashed.
        size: number of bytes hashed.
        proofs: what the manifest was checked against: ``"hmac"`` (under the key the export was made with), ``"mac"``
            (under the data key of a sealed export), ``"signature"`` (of the signer) or ``"digest"`` (the expected one).
            Without any, whoever wrote the shards may have written the manifest too.
    """

    location: str
    images: int
    shards: int
    size: int
    proofs: tuple[Proof, ...]


def verify(
    export: Exports,
    key: Key | None = None,
    *,
    identity: Identities = None,
    signer: Signer | str | os.PathLike[str] | None = None,
    expect: str | None = None,
) -> VerifyResult:
    """Hash every shard again and compare the export with its manifest; with the key, check the HMACs too.

    Without ``key``, ``identity``, ``signer`` or ``expect``, this finds damage, but not a plan and manifest that were
    replaced on purpose. For a sealed export, the sealed files are hashed. With an identity or the key, they are
    decrypted instead, and the content is compared with the manifest inside.

    Args:
        export: its folder or URL; or the folders or URLs of several exports of one key, which are also compared with
            each other.
        key: the key that it was made with.
        identity: as for :func:`torchprotect.data.read`.
        signer: as for :func:`torchprotect.data.read`.
        expect: as for :func:`torchprotect.data.read`.

    Raises:
        ExportError: it is not a finished export; or several exports do not belong together, number their classes
            differently, or have the same split name.
        EnvelopeError: no identity opens it.
        VerificationError: something differs; the message lists every difference.
    """
    if key is not None and not isinstance(key, Key):
        raise KeyKindError(f"key must be a Key, got {type_name(key)}; read one with keys.load")
    exports = as_list(export)
    if expect is not None and len(exports) > 1:
        raise InputRangeError("expect is the digest of one manifest; verify several exports one by one")
    results = [_verify(each, key, identity=identity, signer=signer, expect=expect) for each in exports]
    if len(exports) == 1:
        return results[0]
    opened = [open_finished(each, identity=identity, key=key) for each in exports]
    require_one_key(opened)
    require_different_splits(opened)
    if key is not None:
        require_same_classes(opened, key)
    locations = ", ".join(result.location for result in results)
    images, shards, size = (sum(getattr(r, name) for r in results) for name in ("images", "shards", "size"))
    return VerifyResult(locations, images, shards, size, results[0].proofs)


def _verify(
    export: str | os.PathLike[str],
    key: Key | None,
    *,
    identity: Identities,
    signer: Signer | str | os.PathLike[str] | None,
    expect: str | None,
) -> VerifyResult:
    """Verify one export."""
    store = open_store(export)
    content, path = read_authentic(store, signer=signer, expect=expect), store.path_of(documents.MANIFEST)
    openers = as_openers(identity)
    if not documents.is_sealed(content):
        require_no_opener(store, openers)
        manifest = documents.parse_manifest(content, path)
        proofs, problems = list[Proof](), _check_export(store, manifest, key, check=partial(_check_file, store))
    elif not openers and key is None:
        manifest = parse_sealed_manifest(content, path)
        proofs, problems = [], _check_sealed(store, manifest, key, check=partial(_check_file, store))
    else:
        opened = open_sealed(store, content, [*openers, *([] if key is None else [key])])
        manifest, proofs = opened.manifest, ["mac"]
        problems = _check_sealed(store, parse_sealed_manifest(content, path), key, check=lambda entry, found: None)
        problems += _check_export(opened.store, manifest, key, check=_check_opened(opened))
    if problems:
        raise VerificationError(f"{store.location} is not what its manifest says: {'; '.join(dict.fromkeys(problems))}")
    given: dict[Proof, Any] = {"hmac": key, "signature": signer, "digest": expect}
    proofs += [name for name, value in given.items() if value is not None]
    entries = manifest["shards"]
    size = sum(entry["size"] for entry in entries)
    return VerifyResult(store.location, manifest["images"], len(entries), size, tuple(proofs))


Check: TypeAlias = Callable[[dict[str, Any], dict[str, Entry]], str | None]
"""Takes the entry of a shard in a manifest, and all files; returns the problems of the shard."""


def _check_export(store: Store, manifest: dict[str, Any], key: Key | None, *, check: Check) -> list[str]:
    """Return what is wrong with an open export, or with what is inside of a sealed one."""
    plan, found, entries = _read_plan(store), store.entries(), manifest["shards"]
    problems = [problem for entry in entries if (problem := check(entry, found)) is not None]
    problems += _check_plan(plan, manifest) + _check_owner(store, manifest, plan, key, found)
    if not isinstance(store, SealedStore):  # else they were looked for among the files as they are stored
        owner = {OWNER} if "owner" in manifest else set()
        problems += _extras(found, {documents.PLAN, documents.MANIFEST, documents.SIGNATURE} | owner, entries)
    problems += _check_sum(manifest)
    return problems if key is None else problems + _check_signatures(plan, manifest, key)


def _check_owner(
    store: Store, manifest: dict[str, Any], plan: dict[str, Any] | None, key: Key | None, found: dict[str, Entry]
) -> list[str]:
    """Return what is wrong with the owner's file; with the key it is opened."""
    entry = manifest.get("owner")
    if entry is None:
        return [f"the manifest does not list {OWNER}, which the plan names"] if plan and "owner" in plan else []
    if (problem := _check_file(store, entry, found)) is not None:
        return [problem]
    if key is not None and manifest["key"] == key.fingerprint:
        try:
            open_owner(store.read(OWNER, LARGEST), key, manifest["plan"], OWNER)
        except VerificationError as error:
            return [str(error)]
    return []


def _check_sealed(store: Store, manifest: dict[str, Any], key: Key | None, *, check: Check) -> list[str]:
    """Return what is wrong with the sealed files of an export and the documents beside them."""
    plan, found, entries = _read_plan(store), store.entries(), manifest["shards"]
    checked = [_check_file(store, entry, found) for entry in manifest["documents"]]
    checked += [check(entry, found) for entry in entries]
    problems = [problem for problem in checked if problem is not None]
    problems += _check_plan(plan, manifest)
    known = {documents.PLAN, documents.MANIFEST, documents.SIGNATURE, *filter(is_envelope, found)}
    problems += _extras(found, known, [*manifest["documents"], *entries])
    problems += _check_sum(manifest)
    return problems if key is None else problems + _check_signatures(plan, manifest, key)


def _check_opened(export: FinishedExport) -> Check:
    """Return the check of sealed shards that opens them: each is read once, and hashed both as stored and opened."""
    stored = {} if export.public is None else {entry["name"]: entry for entry in export.public["shards"]}
    sealed = export.store

    def check(entry: dict[str, Any], found: dict[str, Entry]) -> str | None:
        name, listed = entry["name"] + SUFFIX, stored[entry["name"] + SUFFIX]
        if not isinstance(sealed, SealedStore) or entry["name"] not in found:
            return f"{name} is missing"
        try:
            with contextlib.closing(HashedReading(export.stored.open(name))) as reading:
                opened = documents.sha256_of_file(sealed.open_file(cast(BinaryIO, reading), entry["name"]))
        except FileNotFoundError:
            return f"{name} is missing"
        except (ExportError, VerificationError) as error:
            return f"{name} cannot be read ({error})"
        same = (reading.size, reading.sha256) == (listed["size"], listed["sha256"])
        return None if same and opened == entry["sha256"] else f"{name} was changed"

    return check


def _extras(found: Iterable[str], known: set[str], entries: list[dict[str, Any]]) -> list[str]:
    listed = {entry["name"] for entry in entries}
    return [f"{extra.rstrip('/')} does not belong here" for extra in sorted(set(found) - known - listed)]


def _check_sum(manifest: dict[str, Any]) -> list[str]:
    right = manifest["images"] == sum(entry["count"] for entry in manifest["shards"])
    return [] if right else ["the manifest's number of images is not the sum over its shards"]


def _check_file(store: Store, entry: dict[str, Any], found: dict[str, Entry]) -> str | None:
    """Return the problem with a file, or ``None``."""
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
    except (ExportError, VerificationError) as error:
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
    stated = all(plan.get(name) == manifest.get(name) for name in STATED)
    return [] if stated and manifest["plan"] == documents.digest(plan) else ["plan and manifest do not belong together"]


def _check_signatures(plan: dict[str, Any] | None, manifest: dict[str, Any], key: Key) -> list[str]:
    found = {documents.MANIFEST: manifest} if plan is None else {documents.MANIFEST: manifest, documents.PLAN: plan}
    problems = []
    for name, document in sorted(found.items()):
        if document.get("key") != key.fingerprint:
            problems.append(f"{name} was made with key {str(document.get('key'))[:12]!r}, {other_key(key, document)}")
        elif not documents.is_signed(document, key.subkey("manifest")):
            problems.append(f"the HMAC of {name} is wrong")
    return problems
