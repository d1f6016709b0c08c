"""Names, signatures and options on pages exist; ``tests/docs`` runs the pages.

Tables have as many cells in each row as in their heading, or they are shown with cells missing, or as text.
"""

import ast
import builtins
import importlib
import inspect
import json
import re
import shlex
import textwrap
import types
import typing
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from torchprotect import cli, errors

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
TABLES = [*PAGES, *(ROOT / name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "benchmarks/README.md"))]
ROOMS = [importlib.import_module(room) for room in json.loads((ROOT / "tests" / "public_names.json").read_text())]
OURS = {
    *vars(errors),
    *(room.__name__.split(".")[1] for room in ROOMS),
    *(name for room in ROOMS for name in room.__all__),
}
COMMANDS = typer.main.get_command(cli.app).commands


@dataclass(frozen=True)
class Instance:
    """A value of which only the class is known."""

    kind: type


def hinted(holder, name):
    """Return an instance of the one class of ours that an annotation names, if it does."""
    try:
        hint = typing.get_type_hints(holder)[name]
    except (KeyError, NameError, TypeError):  # none; a name that only type checkers import; no function
        return None
    kinds = [kind for kind in typing.get_args(hint) or [hint] if kind is not types.NoneType]
    ours = [kind for kind in kinds if inspect.isclass(kind) and kind.__module__.startswith("torchprotect")]
    return Instance(ours[0]) if len(kinds) == len(ours) == 1 and not ours[0].__subclasses__() else None


def attribute(holder, name):
    """Return what ``holder.name`` is, None where that is not known; AttributeError where users find no such name."""
    if isinstance(holder, types.ModuleType):
        value = getattr(holder, name)
        if name.startswith("_") or (name not in getattr(holder, "__all__", [name]) and not inspect.ismodule(value)):
            raise AttributeError
        return value
    if not isinstance(holder, Instance):
        return getattr(holder, name) if inspect.isclass(holder) else None
    value = inspect.getattr_static(holder.kind, name, None)
    if inspect.isfunction(value):
        return types.MethodType(value, holder)  # its signature has no self
    code = getattr(holder.kind.__init__, "__code__", None)
    if not hasattr(holder.kind, name) and (code is None or name not in code.co_names + code.co_varnames):
        raise AttributeError
    return hinted(holder.kind, name)


class Reader(ast.NodeVisitor):
    """Reads a page's blocks in their order; a visit returns what an expression is, as far as that is known."""

    def __init__(self):
        self.names, self.problems = dict.fromkeys(vars(builtins)), []

    def read(self, line, code):
        try:
            self.visit(ast.increment_lineno(ast.parse(code), line - 1))
        except SyntaxError as error:
            self.problems.append(f"line {line + error.lineno - 1}: does not parse: {error.msg}")

    def note(self, node, problem):
        self.problems.append(f"line {node.lineno}: {problem}")

    def visit_Import(self, node):
        for alias in node.names:
            top = alias.name.split(".")[0]
            self.names[alias.asname or top] = importlib.import_module(top) if top == "torchprotect" else None

    def visit_ImportFrom(self, node):
        module = None
        try:
            module = importlib.import_module(node.module) if node.module.split(".")[0] == "torchprotect" else None
        except ModuleNotFoundError as error:
            self.note(node, str(error))
        except ImportError:  # transforms.kornia asks for a kornia that Python 3.10 does not have
            pass
        for alias in node.names:
            self.names[alias.asname or alias.name] = self.look_up(node, module, alias.name)

    def visit_FunctionDef(self, node):
        self.names[node.name] = None
        self.generic_visit(node)

    def visit_ClassDef(self, node):
        self.visit_FunctionDef(node)

    def visit_arg(self, node):
        self.names[node.arg] = None

    def visit_Assign(self, node):
        value = self.visit(node.value)
        for target in node.targets:
            self.visit(target)
            if isinstance(target, ast.Name):
                self.names[target.id] = value

    def visit_Name(self, node):
        if isinstance(node.ctx, ast.Store):
            self.names[node.id] = None
        elif node.id in OURS and node.id not in self.names:
            self.note(node, f"{node.id} is not imported")
        return self.names.get(node.id)

    def visit_Attribute(self, node):
        return self.look_up(node, self.visit(node.value), node.attr)

    def look_up(self, node, holder, name):
        try:
            return attribute(holder, name)
        except AttributeError:
            what = holder.kind if isinstance(holder, Instance) else holder
            self.note(node, f"{what.__name__} has no public {name}")

    def visit_Call(self, node):
        name, callee = ast.unparse(node.func), self.visit(node.func)
        positional = [self.visit(each) for each in node.args]
        named = {each.arg: self.visit(each.value) for each in node.keywords}
        if isinstance(node.func, ast.Name) and name not in self.names and name not in OURS:
            self.note(node, f"{name} is neither imported nor defined")
        if not callable(callee):
            return None
        try:
            if None not in named and not any(isinstance(each, ast.Starred) for each in node.args):
                inspect.signature(callee).bind(*positional, **named)
        except TypeError as error:
            self.note(node, f"{name}: {error}")
        return Instance(callee) if inspect.isclass(callee) else hinted(callee, "return")


def command_problems(line, code):
    """Yield what is wrong with lines that begin with ``torchprotect``, also after ``&&``; capitals are placeholders."""
    for found in re.finditer(r"(?:^|&& )(?:\$ )?torchprotect ((?:[^\n&]*\\\n)*[^\n&]*)", code, re.M):
        where = f"line {line + code.count(chr(10), 0, found.start())}: torchprotect"
        verb, *words = shlex.split(re.sub(r"[][]|\\\n", " ", found[1]), comments=True)
        if verb in COMMANDS:
            known = {"--help"}.union(*(each.opts + each.secondary_opts for each in COMMANDS[verb].params))
            given = [word.split("=")[0] for word in words if word.startswith("-")]
            yield from (f"{where} {verb} does not know {each}" for each in given if each not in known)
        elif verb != verb.upper() and verb not in ("--help", "--version"):
            yield f"{where} does not know {verb}"


def blocks_of(text):
    """Yield the line, language and code of each fenced block."""
    for block in re.finditer(r"^( *)```([^\n]*)\n(.*?)^\1```$", text, re.M | re.S):
        yield text.count("\n", 0, block.start(3)) + 1, block[2], textwrap.dedent(block[3])


def problems_of(text):
    reader, found = Reader(), []
    for line, language, code in blocks_of(text):
        if language == "python":
            reader.read(line, code)
        elif not language.startswith("{"):
            found += command_problems(line, code)
    return reader.problems + found


def table_problems(text):
    """Yield what keeps lines that begin with a bar from being shown as rows of a table."""
    outside = re.sub(r"^( *)```.*?^\1```$", lambda block: "\n" * block[0].count("\n"), text, flags=re.M | re.S)
    for table in re.finditer(r"(?:^ *\|.*\n?)+", outside, re.M):
        first = outside.count("\n", 0, table.start()) + 1
        rows = table[0].splitlines()
        if len(rows) < 2 or not re.fullmatch(r" *\|(?: *:?-+:? *\|)+ *", rows[1]):
            yield f"line {first}: a table without a heading; is there a blank line before it?"
            continue
        cells = [len(re.findall(r"(?<!\\)\|", row)) - 1 for row in rows]
        yield from (
            f"line {first + n}: {count} cells below a heading of {cells[0]}"
            for n, count in enumerate(cells)
            if count != cells[0]
        )
        if outside[table.end() :].partition("\n")[0].strip():
            yield f"line {first + len(rows)}: text directly below a table becomes its last row"


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in PAGES])
def test_code_on_pages_names_existing_functions_and_options(page):
    problems = problems_of((ROOT / page).read_text())
    assert not problems, "\n".join(f"{page}, {each}" for each in problems)


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in TABLES if page.name != "CHANGELOG.md"])
def test_names_in_the_text_of_pages_exist(page):
    assert not unknown_names((ROOT / page).read_text())


def test_unknown_names_are_found():
    text = "`audit.run(out)`, `torchprotect.attacks.gone` and `audit.bench.nothing`, `audit.Settings`, `keys.gone.too`"
    assert unknown_names(text) == ["attacks.gone", "audit.bench.nothing", "keys.gone.too"]


def unknown_names(text):
    """Return the names in backticks, of rooms of this package, that lead to nothing; file names are none."""
    rooms = "|".join(room.__name__.split(".")[1] for room in ROOMS)
    names = re.findall(rf"`(?:torchprotect\.)?((?:{rooms})(?:\.\w+)+)", text)
    return [name for name in names if not name.endswith((".py", ".age")) and not exists(name.split("."))]


def exists(path):
    """Return whether a dotted name leads to a module or an attribute."""
    found = importlib.import_module("torchprotect")
    for number, name in enumerate(path, 1):
        if not hasattr(found, name):
            try:
                importlib.import_module(".".join(["torchprotect", *path[:number]]))
            except ModuleNotFoundError:
                return False
        found = getattr(found, name)
    return True


def read_reference():
    """Return the pages of the reference, one after the other."""
    return "".join(page.read_text() for page in sorted((ROOT / "docs" / "reference" / "api").glob("*.md")))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_public_name_is_in_the_reference(room):
    reference = read_reference()
    described = set(re.findall(r"^\.\. auto(?:class|data|function):: (\S+)$", reference, re.M))
    assert f"automodule:: {room.__name__}\n" in reference
    assert not [name for name in room.__all__ if f"{room.__name__}.{name}" not in described]


def test_the_reference_describes_public_names_only():
    reference = read_reference()
    public = {f"{room.__name__}.{name}" for room in ROOMS for name in room.__all__}
    described = re.findall(r"^\.\. auto(?:class|data|function):: (\S+)$", reference, re.M)
    assert len(described) == len(set(described))
    assert {name for name in described if ".kornia." not in name} <= public


IMPORTS = "from torchprotect import keys, owsd\nfrom torchprotect.keys import LabelKey as Labels\nimport torchprotect\n"
CLIENT = "client = owsd.Client(encoder, key, cloud, ledger=owsd.Ledger('use.ledger'))\n"


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("owsd.Client(", "line 5: does not parse"),
        ("owsd.Nothing", "line 5: torchprotect.owsd has no public Nothing"),
        ("owsd._prepare", "line 5: torchprotect.owsd has no public _prepare"),
        ("from torchprotect.owsd.cloud import Tensor", "line 5: torchprotect.owsd.cloud has no public Tensor"),
        ("import torch\nfrom torchprotect.nothing import ask", "line 6: No module named 'torchprotect.nothing'"),
        ("ModelCloud(model)", "line 5: ModelCloud is not imported"),
        ("f(images)", "line 5: f is neither imported nor defined"),
        ("owsd.cloud.CloudBusyError('slow', wait=1.0); torchprotect.owsd.Ledger('a', wait=1.0)", None),
        ("torchprotect.owsd.Ledger('a', 3)", "line 5: torchprotect.owsd.Ledger: too many positional"),
        ("owsd.InferenceProtocolCloud('https://example.com', 'm')", "missing a required argument: 'input_name'"),
        ("owsd.InferenceProtocolCloud(*where, **options)", None),
        ("def f(x): return keys.LabelKey.generate(classes=x)\nf(10)", None),
        ("class Net:\n    key = keys.gone\nNet(10)", "line 6: torchprotect.keys has no public gone"),
        (
            "Labels.generate(classes=9, labels=9)",
            "line 5: Labels.generate: got an unexpected keyword argument 'labels'",
        ),
        (CLIENT + "client.fit(images, labels, classes=2).predict(images); client.ledger.path", None),
        (CLIENT + "client.fit(images, labels)", "line 6: client.fit: missing a required argument: 'classes'"),
        (CLIENT + "client.evaluate(images, labels).nothing", "line 6: Evaluation has no public nothing"),
    ],
)
def test_python_problems_are_found(code, problem):
    found = problems_of(f"```python\n{IMPORTS}{code}\n```\n")
    assert found == [] if problem is None else len(found) == 1 and problem in found[0]


@pytest.mark.parametrize("language", ["", "bash", "console"])
@pytest.mark.parametrize(
    ("code", "problems"),
    [
        ("$ torchprotect keygen rmt \\\n    --sizes 8x8", ["line 2: torchprotect keygen does not know --sizes"]),
        ("pip install .\ntorchprotect keyget rmt", ["line 3: torchprotect does not know keyget"]),
        ("cd a && torchprotect demo --outs=b", ["line 2: torchprotect demo does not know --outs"]),
        ("torchprotect audit OUT [--no-pictures] --report a.html [OPTIONS]  # --later\ntorchprotect VERB --help", []),
    ],
)
def test_command_problems_are_found(code, problems, language):
    assert problems_of(f"```{language}\n{code}\n```\n") == problems


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in TABLES])
def test_tables_are_well_formed(page):
    problems = list(table_problems((ROOT / page).read_text()))
    assert not problems, "\n".join(f"{page}, {each}" for each in problems)


HEADING = "| a | b |\n|---|:-:|\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HEADING + "| `x \\| y` | 1 |\n\ntext\n", None),
        (HEADING + "| 1 | 2 |", None),
        ("```\n| 1 |\n| 2 | 3 |\n```\n", None),
        (HEADING + "| 1 | 2 |\n\n| 3 | 4 |\n", "line 5: a table without a heading"),
        (HEADING + "| 1 | 2 | 3 |\n", "line 3: 3 cells below a heading of 2"),
        ("```\n\n```\n" + HEADING + "| `x | y` | 1 |\n", "line 6: 3 cells"),
        (HEADING + "| 1 |\n", "line 3: 1 cells"),
        (HEADING + "| 1 | 2 |\ntext\n", "line 4: text directly below"),
    ],
)
def test_table_problems_are_found(text, problem):
    found = list(table_problems(text))
    assert found == [] if problem is None else len(found) == 1 and found[0].startswith(problem)
