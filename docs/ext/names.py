"""Show types under their public names, which link to their entry, and functions that are defaults by their name."""

import importlib
import re
import sys
from typing import Any

from sphinx.application import Sphinx

DEFINED = re.compile(r"\btorchprotect(?:\.\w+)+\.([A-Z]\w+)")


def public_names() -> dict[str, str]:
    """Return the public name of each class by that of its definition."""
    found = {}
    for name, room in list(sys.modules.items()):
        if name.startswith("torchprotect."):
            for public in getattr(room, "__all__", ()):
                each = getattr(room, public)
                if isinstance(each, type):
                    found[f"{each.__module__}.{each.__qualname__}"] = f"{name}.{public}"
    return found


def name_types(text: str) -> str:
    """Replace names of definitions; a class without a public name keeps its last part."""
    known = public_names()
    public = set(known.values())
    return DEFINED.sub(lambda each: each[0] if each[0] in public else known.get(each[0], each[1]), text)


def in_docstring(_app: Sphinx, _what: str, _name: str, _value: object, _options: Any, lines: list[str]) -> None:
    """Replace names in the types of attributes."""
    for number, line in enumerate(lines):
        if line.lstrip().startswith((":type", ":rtype")):
            lines[number] = name_types(line)


def in_signature(
    _app: Sphinx, _what: str, _name: str, _value: object, _options: Any, signature: str | None, returns: str | None
) -> tuple[str | None, str | None]:
    """Replace functions and classes among defaults, which would be shown with their addresses and modules."""
    if signature is not None:
        signature = re.sub(r"<function \w+\.<lambda>>", "...", signature)
        signature = re.sub(r"<function (\w+)[^>]*>", r"\1", signature)
        signature = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", signature)
    return signature, returns


def setup(app: Sphinx) -> dict[str, bool]:
    importlib.import_module("torchprotect.attacks.scores")
    app.connect("autodoc-process-docstring", in_docstring, priority=900)  # after napoleon, which writes the types
    app.connect("autodoc-process-signature", in_signature)
    return {"parallel_read_safe": True}
