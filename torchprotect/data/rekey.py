"""Write an export again under another key, without its source."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from torchprotect.data._undo import may_be_inexact
from torchprotect.data.export import ExportResult, Progress, export
from torchprotect.data.finished import Identities, open_finished
from torchprotect.data.restored import RestoredSource
from torchprotect.data.verify import verify
from torchprotect.envelope import Recipients, SigningKey
from torchprotect.errors import EnvelopeError, KeyKindError, SourceError
from torchprotect.keys import AESKey, Key, KeyBundle, RMTKey
from torchprotect.transforms import from_key
from torchprotect.transforms.from_description import settings_of


def rekey(
    exported: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    key: Key,
    new_key: Key,
    identity: Identities = None,
    workers: int = 0,
    progress: Progress | None = None,
    notify: Callable[[str], None] | None = None,
    recipients: Recipients | Sequence[str] | None = None,
    generation: int | None = None,
    signing_key: SigningKey | str | os.PathLike[str] | None = None,
) -> ExportResult:
    """Write an export again under a new key of the same kind, to replace a key that has leaked.

    The images are restored and disguised again, with the settings of the export. Whoever has the old key can still open
    copies of the old export. The block size of the new key may differ. Both keys must agree in whether all positions
    share one secret. With an owner's file, and if no picture was skipped, the result equals an export of the image
    folder or tar archives under the new key, byte by byte.

    Args:
        exported: folder or URL of a finished export; all of it is verified first.
        out: folder or URL to write to, as for :func:`torchprotect.data.export`.
        key: the key that the export was made with.
        new_key: the new key, of the same kind.
        identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`; the key does too.
        workers: as for :func:`torchprotect.data.export`.
        progress: called with the number of images done and the total.
        notify: called with notes.
        recipients: seals the new export, as for :func:`torchprotect.data.export`; needed if the old one is sealed.
        generation: as for :func:`torchprotect.data.export`.
        signing_key: as for :func:`torchprotect.data.export`.

    Raises:
        NotInvertibleError: the disguise cannot be undone; export the source under the new key.
        SourceError: an image cannot be restored exactly, or it is unknown whether it can.
        EnvelopeError: the export is sealed, and no recipients of the new one are given.
        KeyKindError: the keys are of different kinds, only one of them shares a secret among positions, or the export
            was made with another key.
        VerificationError: the export was changed.
    """
    _require_same_kind(key, new_key)
    verify(exported, key, identity=identity)
    opened = open_finished(exported, identity=identity, key=key)
    manifest = opened.manifest
    if opened.public is not None and recipients is None:
        raise EnvelopeError(
            f"{opened.store.location} is sealed: give recipients for the new export too (--recipient); for an open "
            "one, make an open copy with `torchprotect open` first"
        )
    if "owner" not in manifest and may_be_inexact(manifest):
        raise SourceError(
            "salt and pepper, or float16, have changed images, and without an owner's file it is unknown which: export "
            "the original source under the new key"
        )
    source = RestoredSource(opened, key)
    return export(
        source,
        out,
        transform=from_key(new_key, **settings_of(manifest["transform"])),
        key=new_key,
        prepare=source.preparation,
        split=manifest.get("split"),
        store=manifest.get("store"),
        owner_file="owner" in manifest,
        shard_size=source.shard_size,
        workers=workers,
        progress=progress,
        notify=notify,
        recipients=recipients,
        generation=generation,
        signing_key=signing_key,
    )


def _require_same_kind(key: Any, new_key: Any) -> None:
    """Check for two different keys of one kind, both bundles or neither, with the same parts."""
    if not isinstance(key, Key) or not isinstance(new_key, Key):
        raise KeyKindError("key and new_key must be keys; read them with keys.load")
    if key == new_key:
        raise KeyKindError("key and new_key are the same")
    if _parts(key) != _parts(new_key):
        raise KeyKindError(
            f"a key of {_parts(key)} cannot be replaced by one of {_parts(new_key)}: the settings of the export would "
            "mean something else; export the source under the new key"
        )
    _require_same_sharing(*(each.transform if isinstance(each, KeyBundle) else each for each in (key, new_key)))


def _require_same_sharing(key: Key, new_key: Key) -> None:
    """Check that positions share one secret under both keys or under neither; a single block fits either."""
    if not isinstance(key, AESKey | RMTKey) or not isinstance(new_key, AESKey | RMTKey):
        return
    if 1 in (key.positions, new_key.positions) or key.shared == new_key.shared:
        return
    was, make = ("one secret", "shared=True (--shared)") if key.shared else ("secrets of their own", "shared=False")
    raise KeyKindError(
        f"all positions have {was} under the key of the export, but not under the new key; make the new one with "
        f"{make}, or export the source under it"
    )


def _parts(key: Key) -> str:
    if not isinstance(key, KeyBundle):
        return key.kind
    parts = [key.transform.kind]
    parts += ["a block order"] if key.permutation is not None else []
    parts += ["a label map"] if key.labels is not None else []
    return " with ".join([parts[0], " and ".join(parts[1:])]) if parts[1:] else parts[0]
