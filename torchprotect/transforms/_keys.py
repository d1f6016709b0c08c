"""Keys that transforms take."""

from typing import Any

from torchprotect.errors import KeyKindError
from torchprotect.keys import Key, KeyBundle


def require_kind(name: str, key: Any, kind: type[Key]) -> None:
    """Check that a key is of the kind a transform needs.

    Raises:
        KeyKindError: it is another; the message names both.
    """
    if not isinstance(key, kind):
        hint = "; hand a bundle to transforms.from_key" if isinstance(key, KeyBundle) else ""
        raise KeyKindError(f"{name} must be a {kind.__name__}, not {type(key).__name__}{hint}")
