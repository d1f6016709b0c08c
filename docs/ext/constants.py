"""Give constants and type aliases of a room the docstring that stands below their assignment.

autodoc looks for it in the module that a page names. A room imports its constants from the modules that define them,
and the docstring of their class, such as that of ``str``, would stand there instead.
"""

import sys
from collections.abc import Iterator
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import PycodeError
from sphinx.pycode import ModuleAnalyzer


def docstrings(name: str, value: object) -> Iterator[list[str]]:
    """Yield what stands below assignments of this value to this name, in any module of the package."""
    attribute = name.rpartition(".")[2]
    for module, found in list(sys.modules.items()):
        if module.startswith("torchprotect.") and vars(found).get(attribute) is value:
            try:
                known = ModuleAnalyzer.for_module(module).find_attr_docs()
            except PycodeError:  # without a source
                continue
            if ("", attribute) in known:
                yield known["", attribute]


def replace(_app: Sphinx, what: str, name: str, value: object, _options: Any, lines: list[str]) -> None:
    """Put the docstring of a constant in place of that of its class."""
    if what == "data":
        lines[:] = next(docstrings(name, value), lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect(
        "autodoc-process-docstring", replace, priority=900
    )  # after napoleon, which takes words before a colon for a type
    return {"parallel_read_safe": True}
