"""Count, add and replace the recipients of a sealed export, without touching its shards."""

import os
from collections.abc import Sequence

from torchprotect.data.finished import MOST_ENVELOPES, FinishedExport, Identities, open_finished, read_envelopes
from torchprotect.data.store import SealedStore, Store, open_store
from torchprotect.envelope import Recipients
from torchprotect.envelope.data_key import DataKey
from torchprotect.envelope.recipients import PASSPHRASE_ENVELOPE, is_envelope, kinds_of, numbered
from torchprotect.errors import EnvelopeError


def count_recipients(export: str | os.PathLike[str]) -> dict[str, int]:
    """Return the number of recipients of each kind, such as ``X25519``. age files do not name their recipients.

    Args:
        export: folder or URL of a sealed export.

    Raises:
        ExportError: there is no sealed export.
    """
    counts = dict[str, int]()
    for content in _envelopes(open_store(export)).values():
        for kind in kinds_of(content):
            counts[kind] = counts.get(kind, 0) + 1
    return dict(sorted(counts.items()))


def add_recipients(
    export: str | os.PathLike[str], recipients: Recipients | Sequence[str], *, identity: Identities
) -> None:
    """Let more recipients open a sealed export. This adds one envelope, a file of a few hundred bytes.

    Args:
        export: folder or URL of a finished sealed export.
        recipients: recipients to add; see :func:`torchprotect.data.export`.
        identity: one that opens the export now; see :func:`torchprotect.data.read`.

    Raises:
        EnvelopeError: no identity opens it, a recipient is malformed, or the export has a passphrase already.
    """
    store, wrapped = _wrap(export, recipients, identity)
    if PASSPHRASE_ENVELOPE in wrapped:
        try:
            store.create(PASSPHRASE_ENVELOPE, wrapped.pop(PASSPHRASE_ENVELOPE))
        except FileExistsError:
            raise EnvelopeError(
                f"{store.location} has a passphrase already, and age allows one: replace all recipients (--set)"
            ) from None
    for content in wrapped.values():
        _create_next(store, content)


def set_recipients(
    export: str | os.PathLike[str], recipients: Recipients | Sequence[str], *, identity: Identities
) -> None:
    """Replace all recipients of a sealed export.

    Whoever could open it before keeps the data key, and everything they have copied. To keep them from opening later
    copies, seal the export anew with :func:`torchprotect.data.seal_export` and delete this one.

    Args:
        export: folder or URL of a finished sealed export.
        recipients: everybody who may open it from now on.
        identity: one that opens the export now.

    Raises:
        EnvelopeError: no identity opens it, or a recipient is malformed.
    """
    store, wrapped = _wrap(export, recipients, identity)
    former = set(filter(is_envelope, store.entries()))
    for name, content in wrapped.items():
        with store.write(name) as upload:
            upload.file.write(content)
    store.delete(former - wrapped.keys())


def _wrap(
    export: str | os.PathLike[str], recipients: Recipients | Sequence[str], identity: Identities
) -> tuple[Store, dict[str, bytes]]:
    """Return the store of a sealed export, and its data key wrapped for recipients, by the names of files."""
    to = recipients if isinstance(recipients, Recipients) else Recipients.of(recipients)
    opened = open_finished(export, identity=identity)
    return opened.stored, to.wrap(_data_key(opened))


def _data_key(opened: FinishedExport) -> DataKey:
    if not isinstance(opened.store, SealedStore):
        raise EnvelopeError(f"{opened.store.location} is not sealed, so it has no recipients")
    return opened.store.data_key


def _create_next(store: Store, content: bytes) -> None:
    """Write an envelope under the first free name; other processes may be adding one too."""
    for number in range(1, MOST_ENVELOPES):
        try:
            store.create(numbered(number), content)
        except FileExistsError:
            continue
        return
    raise EnvelopeError(
        f"{store.location} has {MOST_ENVELOPES} envelopes, and no more are read: replace all recipients"
    )


def _envelopes(store: Store) -> dict[str, bytes]:
    found = read_envelopes(store)
    if not found:
        raise EnvelopeError(f"{store.location} has no envelope: it is not sealed, or not finished")
    return found
