"""Canonical JSON, with one byte string per value, and a strict parser."""

import json
from typing import Any


def canonical(value: Any) -> bytes:
    """Return ``value`` as UTF-8 JSON with sorted keys and no spaces; NaN and infinities are refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def parse(content: bytes | str) -> Any:
    """Parse JSON strictly, refusing input that parsers interpret differently.

    Raises:
        ValueError: it is not JSON, an object has a member twice, or a number or character is not valid JSON.
    """
    try:
        value = json.loads(content, object_pairs_hook=distinct)
        canonical(value)  # refuses NaN and unpaired surrogates
    except RecursionError:
        raise ValueError("JSON is nested too deeply") from None
    return value


def distinct(members: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the members of an object, as ``object_pairs_hook`` of ``json.loads``.

    Raises:
        ValueError: one is there twice.
    """
    value = dict(members)
    if len(value) < len(members):
        raise ValueError("an object has a member twice")
    return value
