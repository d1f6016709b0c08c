"""Help texts are whole sentences, and the reference on the site shows every verb and option."""

import importlib.util
import re
from pathlib import Path

import pytest
import typer

from torchprotect import cli

DOCS = Path(__file__).parents[2] / "docs"
COMMANDS = typer.main.get_command(cli.app).commands


@pytest.mark.parametrize("verb", COMMANDS)
def test_help_texts_are_sentences(verb):
    first, *paragraphs = COMMANDS[verb].help.split("\n\n")
    assert len(first) <= 130, "the first paragraph stands in the list of all verbs"
    for text in (first, *paragraphs, *(each.help for each in COMMANDS[verb].params)):
        assert re.match(r"[A-Z`]", text), text
        assert text.endswith(".") or text.startswith("Example: "), text
        assert "[" not in text, f"rich takes brackets for markup: {text}"


@pytest.fixture(scope="module")
def verbs():
    pytest.importorskip("sphinx")
    spec = importlib.util.spec_from_file_location("verbs", DOCS / "ext" / "verbs.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("verb", COMMANDS)
def test_the_generated_reference_is_complete(verbs, verb):
    shown = "\n".join(verbs.tables(verb))
    spellings = re.findall(r"^\| `([^`]*)`", shown, re.M)
    written = {name for each in spellings for name in re.findall(r"(?<!\w)--?[\w-]+", each)}
    known = {name for each in COMMANDS[verb].params for name in [*each.opts, *each.secondary_opts]}
    assert written == {name for name in known if name.startswith("-") and name != "--help"}
    for each in COMMANDS[verb].params:
        if each.param_type_name == "argument":
            assert each.metavar is None or f"`{each.metavar}" in shown


def test_every_verb_is_on_the_page():
    page = (DOCS / "reference" / "command-line.md").read_text()
    assert sorted(re.findall(r"^::::\{verb\} (\S+)$", page, re.M)) == sorted(COMMANDS)
    assert all(f"\n## {verb}\n" in page for verb in COMMANDS)
