"""Settings files: a list of settings as JSON or TOML."""

import importlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torchprotect._files import read_regular
from torchprotect._inputs import type_name
from torchprotect._json import parse
from torchprotect.audit.comparison.setting import Setting
from torchprotect.errors import InputRangeError, InputTypeError, ProtectError

_LARGEST = 1 << 20  # bytes of a file
_MOST = 200
_MEMBER = "settings"


def read_settings(path: str | os.PathLike[str]) -> tuple[Setting, ...]:
    """Read settings from a file: TOML if its name ends in ``.toml``, JSON otherwise.

    JSON: ``{"settings": [{"scheme": "rmt", "block_size": [7, 7], "noise": 50}]}``. TOML: the same with a table
    ``[[settings]]`` for each. The fields are those of :class:`Setting`.

    Raises:
        InputTypeError, InputRangeError, BlockSizeError: the file is not valid; the message names setting and field.
        OSError: the file cannot be read.
    """
    file = Path(path)
    content = read_regular(file, _LARGEST, InputRangeError)
    try:
        document = _toml(content) if file.suffix == ".toml" else parse(content)
    except (ValueError, UnicodeDecodeError) as error:
        if isinstance(error, ProtectError):
            raise
        raise InputRangeError(f"{file} is not {'TOML' if file.suffix == '.toml' else 'JSON'}: {error}") from None
    if not isinstance(document, dict) or set(document) != {_MEMBER} or not isinstance(document[_MEMBER], list):
        raise InputRangeError(f"{file} must hold {_MEMBER!r}, a list of settings, and nothing else")
    return require_settings(document[_MEMBER], str(file))


def require_settings(given: Any, where: str = "settings") -> tuple[Setting, ...]:
    """Return settings, given as such or by their fields, if there are any and no two are equal.

    Raises:
        InputTypeError, InputRangeError, BlockSizeError: one is none; the message names setting and field.
    """
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise InputTypeError(f"{where} must be a list of settings, got {type_name(given)}")
    if not 1 <= len(given) <= _MOST:
        raise InputRangeError(f"{where} must have 1 to {_MOST} settings, not {len(given)}")
    made = [_made(each, f"{where}, setting {number}") for number, each in enumerate(given, 1)]
    for number, each in enumerate(made):
        if each in made[:number]:
            raise InputRangeError(f"{where}, setting {number + 1} equals setting {made.index(each) + 1}")
    return tuple(made)


def as_json(settings: Sequence[Setting]) -> str:
    """Return settings as a file that :func:`read_settings` takes, one a line."""
    lines = ",\n".join(f"  {json.dumps(each.to_dict())}" for each in settings)
    return f'{{"{_MEMBER}": [\n{lines}\n]}}'


def _made(given: Any, where: str) -> Setting:
    if isinstance(given, Setting):
        return given
    try:
        return Setting.from_dict(given)
    except ProtectError as error:
        raise type(error)(f"{where}: {error}") from None


def _toml(content: bytes) -> Any:
    try:
        tomllib = importlib.import_module("tomllib")
    except ModuleNotFoundError:  # Python 3.10
        raise InputRangeError("TOML needs Python 3.11 or later; give the settings as JSON") from None
    return tomllib.loads(content.decode())
