"""Checks and public descriptions of the keys that transforms use."""

from typing import Any

from torchprotect._inputs import type_name, with_article
from torchprotect.errors import KeyKindError
from torchprotect.keys import BlockKey, Key, KeyBundle


def require_kind(name: str, key: Any, kind: type[Key]) -> None:
    """Check that a key is of the kind that a transform needs, and compute the fingerprint that error messages name.

    Dynamo cannot compute a fingerprint. Without this step, a traced program would raise other errors than ours.

    Raises:
        KeyKindError: it is another kind; the message names both.
    """
    if not isinstance(key, kind):
        hint = "; hand a bundle to transforms.from_key" if isinstance(key, KeyBundle) else ""
        raise KeyKindError(f"{name} must be {with_article(kind.__name__)}, got {type_name(key)}{hint}")
    _ = key.fingerprint


def describe_key(key: BlockKey) -> dict[str, Any]:
    """Return the public parameters of a key: an attacker is assumed to know the sizes, and whether a secret is shared.

    ``shared`` is stated only if it is true, so that other descriptions keep their bytes.
    """
    sizes = {"image_size": list(key.image_size), "block_size": list(key.block_size)}
    shared = {"shared": True} if getattr(key, "shared", False) else {}
    return {"key": key.fingerprint, **sizes, "channels": getattr(key, "channels", None), **shared}
