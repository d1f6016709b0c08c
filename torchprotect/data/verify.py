"""Is an export still what its manifest says?"""

import os
from dataclasses import dataclass
from pathlib import Path

from torchprotect.data import manifest as documents
from torchprotect.errors import ExportError, KeyKindError, VerificationError
from torchprotect.keys import Key


@dataclass(frozen=True)
class VerifyResult:
    """What was checked.

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


def verify(out: str | os.PathLike[str], key: Key | None = None) -> VerifyResult:
    """Hash every shard again and compare with the manifest; with the key, check the HMACs too.

    Without the key this finds damage, but not a manifest that was replaced on purpose.

    Raises:
        ExportError: ``out`` is no finished export.
        VerificationError: something differs; the message lists all of it.
    """
    if key is not None and not isinstance(key, Key):
        raise KeyKindError(f"a key is needed, not a {type(key).__name__}; read one with keys.load")
    folder = Path(out)
    path = folder / documents.MANIFEST
    if not path.exists() and (folder / documents.PLAN).exists():
        raise ExportError(f"{folder} is an unfinished export; run the export again to finish it")
    manifest = documents.read_document(path, documents.MANIFEST_FORMAT)
    entries = documents.shard_entries(manifest, path)
    problems = []
    for entry in entries:
        shard = folder / entry["name"]
        if not shard.is_file():
            problems.append(f"{shard.name} is missing")
        elif shard.stat().st_size != entry["size"] or documents.file_sha256(shard) != entry["sha256"]:
            problems.append(f"{shard.name} was changed")
    expected = {documents.PLAN, documents.MANIFEST, *(entry["name"] for entry in entries)}
    if not (folder / documents.PLAN).is_file():
        problems.append(f"{documents.PLAN} is missing")
    problems += [f"{extra} does not belong here" for extra in sorted({p.name for p in folder.iterdir()} - expected)]
    if manifest.get("images") != sum(entry["count"] for entry in entries):
        problems.append("the manifest's number of images is not the sum over its shards")
    if key is not None:
        problems += _check_signatures(folder, key)
    if problems:
        raise VerificationError(f"{folder} is not what its manifest says: {'; '.join(problems)}")
    return VerifyResult(folder, manifest["images"], len(entries), sum(e["size"] for e in entries), key is not None)


def _check_signatures(folder: Path, key: Key) -> list[str]:
    forms = {documents.PLAN: documents.PLAN_FORMAT, documents.MANIFEST: documents.MANIFEST_FORMAT}
    problems = []
    found = {name: documents.read_document(folder / name, form) for name, form in forms.items()}
    if found[documents.MANIFEST].get("plan") != documents.digest(found[documents.PLAN]):
        problems.append("plan and manifest do not belong together")
    for name, document in found.items():
        if document.get("key") != key.fingerprint:
            made_with = str(document.get("key"))[:12]
            problems.append(f"{name} was made with key {made_with!r}, the key given is {key.fingerprint[:12]}")
        elif not documents.is_signed(document, key.subkey("manifest")):
            problems.append(f"the HMAC of {name} is wrong")
    return problems
