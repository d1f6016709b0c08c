"""Read the owner's file of an export."""

import os

from torchprotect.data.finished import Identities, open_finished, owner_of, require_made_with
from torchprotect.data.owner import Owner
from torchprotect.keys import Key


def read_owner(export: str | os.PathLike[str], *, key: Key, identity: Identities = None) -> Owner | None:
    """Read the owner's file of an export: names of classes and samples, and a description of the source.

    Only the key holder can read it.

    Args:
        export: folder or URL of a finished export.
        key: the key that the export was made with.
        identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`; the key does too.

    Returns:
        The content, or ``None`` if the export was made without an owner's file.

    Raises:
        KeyKindError: the export was made with another key.
        VerificationError: the export or its owner's file was changed.
    """
    opened = open_finished(export, identity=identity, key=key)
    require_made_with(opened, key)
    return owner_of(opened, key)
