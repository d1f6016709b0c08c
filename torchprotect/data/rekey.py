"""An export under another key, without its source."""

import os
from collections.abc import Callable, Sequence
from typing import Any

from torchprotect.data.export import ExportResult, Progress, export
from torchprotect.data.finished import Identities, open_finished
from torchprotect.data.restored import RestoredSource
from torchprotect.data.verify import verify
from torchprotect.envelope import Recipients
from torchprotect.errors import KeyKindError
from torchprotect.keys import Key, KeyBundle
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
) -> ExportResult:
    """Write an export again, under another key of the same kind: in place of a key that has leaked.

    The images are restored and disguised again, with the settings of the export; whoever has the old key can still
    open copies of the old export. With an owner's file the result equals an export of an image folder or tar archives
    under the new key, byte by byte.

    Args:
        exported: folder or URL of a finished export; all of it is verified first.
        out: folder or URL to write to, as for :func:`torchprotect.data.export`.
        key: that the export was made with.
        new_key: of the same kind.
        identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`; the key does too.
        workers: as for :func:`torchprotect.data.export`.
        progress: called with images done and images in all.
        notify: called with notes.
        recipients: seals the new export, as for :func:`torchprotect.data.export`.
        generation: as for :func:`torchprotect.data.export`.

    Raises:
        NotInvertibleError: the disguise cannot be undone; export the source under the new key.
        SourceError: an image cannot be restored exactly.
        KeyKindError: the keys are of different kinds, or the export was made with another one.
        VerificationError: the export was changed.
    """
    _require_same_kind(key, new_key)
    verify(exported, key, identity=identity)
    opened = open_finished(exported, identity=identity, key=key)
    source = RestoredSource(opened, key)
    manifest = opened.manifest
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


def _parts(key: Key) -> str:
    if not isinstance(key, KeyBundle):
        return key.kind
    parts = [key.transform.kind]
    parts += ["a block order"] if key.permutation is not None else []
    parts += ["a label map"] if key.labels is not None else []
    return " with ".join([parts[0], " and ".join(parts[1:])]) if parts[1:] else parts[0]
