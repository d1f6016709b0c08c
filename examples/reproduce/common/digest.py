"""A digest of the code that makes a number."""

import ast
import functools
import hashlib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent


@functools.cache
def code_digest(module: Path) -> str:
    """Return 12 hex digits that change with a module, or with one of the reproductions' modules that it imports.

    Comments, docstrings, layout and the order of imports do not count; imports for type checkers are not followed.
    """
    digest = hashlib.sha256()
    for path in sorted(_with_imports(module.resolve())):
        tree = ast.parse(path.read_text())
        digest.update(repr((_shape(tree), sorted(_names(tree)))).encode())
    return digest.hexdigest()[:12]


def _names(tree: ast.AST) -> Iterator[tuple[str, str, str]]:
    """Return module, name and alias of everything that is imported."""
    for node in _running(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module = (node.module or "") if isinstance(node, ast.ImportFrom) else ""
            yield from ((module, each.name, each.asname or "") for each in node.names)


def _with_imports(module: Path) -> set[Path]:
    found, open_ends = set(), [module]
    while open_ends:
        path = open_ends.pop()
        if path not in found:
            found.add(path)
            open_ends += _imported(path)
    return found


def _imported(path: Path) -> Iterator[Path]:
    for node in _running(ast.parse(path.read_text())):
        names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{each.name}" for each in node.names)]
        for name in names:
            for folder in (path.parent, ROOT):
                candidate = folder.joinpath(*name.split(".")).with_suffix(".py")
                if candidate.exists():
                    yield candidate.resolve()


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """Return all nodes but those under ``if TYPE_CHECKING``."""
    open_ends = [tree]
    while open_ends:
        node = open_ends.pop()
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        yield node
        open_ends += ast.iter_child_nodes(node)


def _shape(value: object) -> object:
    """Return a syntax tree as nested tuples; empty fields are left out, which differ between versions of Python."""
    if isinstance(value, list):
        return tuple(_shape(each) for each in value if not _is_left_out(each))
    if not isinstance(value, ast.AST):
        return repr(value)
    fields = ((name, _shape(field)) for name, field in ast.iter_fields(value) if field not in (None, []))
    return (type(value).__name__, *fields)


def _is_left_out(node: object) -> bool:
    """Return whether this is an import, which counts in no order, or a docstring."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return True
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
