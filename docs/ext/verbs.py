"""Generate the reference of the command line from the declarations of the Typer app, so that it is never out of date.

``{verbs}`` makes a table of all verbs. ``{verb} NAME`` makes usage, description and tables of arguments and options;
what the directive holds stands between the description and the tables. sphinx-click cannot do it: Typer has its own
copy of Click, whose classes sphinx-click does not know, and their attributes change from version to version. So
this reads what the package declares: annotations with ``typer.Argument`` and ``typer.Option``.
"""

import inspect
import re
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from typer.models import ArgumentInfo, CommandInfo

from torchprotect.cli import app

VERBS: dict[str, CommandInfo] = {str(each.name): each for each in app.registered_commands}
PLACEHOLDERS = {int: "N", float: "X", str: "TEXT", bool: ""}


@dataclass(frozen=True)
class Parameter:
    """An argument or option as a command declares it; ``default`` is ``...`` where there is none."""

    name: str
    kind: Any
    default: Any
    info: Any

    @property
    def is_argument(self) -> bool:
        return isinstance(self.info, ArgumentInfo)

    @property
    def required(self) -> bool:
        return self.default is ...

    @property
    def bare_kind(self) -> Any:
        """The type without ``None`` and ``list``."""
        kinds = [each for each in typing.get_args(self.kind) if each is not NoneType]
        kind = self.kind if typing.get_origin(self.kind) in (None, typing.Literal, list) else kinds[0]
        return typing.get_args(kind)[0] if typing.get_origin(kind) is list else kind

    @property
    def placeholder(self) -> str:
        """What stands for the value of an option, empty for a flag; or the name of an argument."""
        kind = self.bare_kind
        if self.info.metavar:
            return str(self.info.metavar)
        if self.is_argument:
            return self.name.upper()
        if typing.get_origin(kind) is typing.Literal:
            return "|".join(str(each) for each in typing.get_args(kind))
        if kind is Path:
            return "FILE" if self.info.file_okay else "DIR"
        return PLACEHOLDERS[kind]

    @property
    def spelling(self) -> str:
        """The argument or option as it is written on the command line."""
        if self.is_argument:
            several = typing.get_origin(self.kind) is list or "list[" in str(self.kind)
            return self.placeholder + ("..." if several else "")
        # in an annotation, the first positional argument of typer.Option is a name, which Typer keeps as the default
        written = [self.info.default, *(self.info.param_decls or ())]
        declared = [each for each in written if isinstance(each, str) and each.startswith("-")]
        dashed = self.name.replace("_", "-")
        if not declared:
            declared = [f"--{dashed}/--no-{dashed}" if self.bare_kind is bool else f"--{dashed}"]
        names = sorted((name for each in declared for name in each.split("/")), key=lambda name: name.startswith("--"))
        return f"{', '.join(names)} {self.placeholder}".rstrip()

    @property
    def meaning(self) -> str:
        """The help text with the range, in Markdown."""
        low, high = self.info.min or None, self.info.max  # at least 0 goes without saying
        ranges = {
            (False, False): "",
            (True, False): f" At least {low}.",
            (False, True): f" From 0 to {high}.",
            (True, True): f" From {low} to {high}.",
        }
        choices = typing.get_args(self.bare_kind) if typing.get_origin(self.bare_kind) is typing.Literal else ()
        told = f" One of {', '.join(f'`{each}`' for each in choices)}." if choices and self.is_argument else ""
        return markdown(self.info.help) + told + ranges[low is not None, high is not None]

    @property
    def shown_default(self) -> str:
        if self.required:
            return "**required**"
        if isinstance(self.info.show_default, str):
            given = self.info.show_default
            return f"`{given}`" if re.fullmatch(r"(?!off)[\w.]+", given) else markdown(given)
        if self.bare_kind is bool:
            return "on" if self.default else "off"
        shown = f"{self.default:g}" if isinstance(self.default, float) else self.default
        return "" if self.default is None else f"`{shown}`"


def parameters(verb: str) -> list[Parameter]:
    callback = VERBS[verb].callback
    assert callback is not None  # noqa: S101
    declared = []
    for name, parameter in inspect.signature(callback).parameters.items():
        kind, info = typing.get_args(parameter.annotation)
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        declared.append(Parameter(name, kind, default, info))
    return sorted(declared, key=lambda each: not each.is_argument)


def markdown(text: str) -> str:
    """Escape what Markdown would read as markup, except in code between backticks; options become code."""
    text = re.sub(r"(?<![`\w-])--[a-z][a-z-]*(?![`\w])", r"`\g<0>`", text)
    pieces = re.split(r"(`[^`]*`)", text)
    return "".join(each if each.startswith("`") else re.sub(r"([\\*_<\[])", r"\\\1", each) for each in pieces)


def usage(verb: str) -> str:
    """Return the usage, with required options in place."""
    all_of_them = parameters(verb)
    arguments = [each.spelling if each.required else f"[{each.spelling}]" for each in all_of_them if each.is_argument]
    required = [each.spelling.split(", ")[-1] for each in all_of_them if each.required and not each.is_argument]
    return " ".join(["torchprotect", verb, *arguments, *required, "[OPTIONS]"])


def row(*cells: str) -> str:
    return "| " + " | ".join(each.replace("|", "\\|") for each in cells) + " |"


def tables(verb: str) -> Iterator[str]:
    """Yield tables of arguments, of options, and of the options of each panel."""
    panels: dict[str, list[Parameter]] = {"Arguments": [], "Options": []}
    for each in parameters(verb):
        panels.setdefault("Arguments" if each.is_argument else each.info.rich_help_panel or "Options", []).append(each)
    for panel, members in panels.items():
        if members:
            yield from ("", row(panel, "meaning", "default"), "|---|---|---|")
            yield from (row(f"`{each.spelling}`", each.meaning, each.shown_default) for each in members)
            yield ""


class _Generated(SphinxDirective):
    has_content = True

    def parse(self, lines: list[str]) -> list[nodes.Node]:
        for command in VERBS.values():
            self.env.note_dependency(inspect.getfile(command.callback))
        container = nodes.container()
        self.state.nested_parse(StringList(lines, self.get_source_info()[0]), self.content_offset, container)
        return container.children


class Verb(_Generated):
    """Usage, description and options of one verb."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        [verb] = self.arguments
        paragraphs = [each for each in str(VERBS[verb].help).split("\n\n") if not each.startswith("Example: ")]
        lines = ["```text", usage(verb), "```", ""]
        lines += [line for each in paragraphs for line in (markdown(each), "")]
        generated = self.parse(list(tables(verb)))
        for each in generated:
            each["classes"].append("verb-options")  # static/verbs.css
        return [*self.parse([*lines, *self.content]), *generated]


class Verbs(_Generated):
    """A table of all verbs, in their groups, each with the first paragraph of its description."""

    def run(self) -> list[nodes.Node]:
        lines, last = ["| | verb | what it does |", "|---|---|---|"], ""
        for verb, command in VERBS.items():
            group = str(command.rich_help_panel)
            first = str(command.help).partition("\n\n")[0]
            lines.append(row("" if group == last else group, f"[`{verb}`](#{verb})", markdown(first)))
            last = group
        return self.parse(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("verb", Verb)
    app.add_directive("verbs", Verbs)
    return {"parallel_read_safe": True}
