"""The manual runs: Sybil reads the snippets of a page, and runs them in one namespace and one temporary folder.

``python`` blocks run as they stand; one whose first line is a comment with a file name, as ``# train.py``, is also
written to that file. ``bash`` blocks, and blocks without a language that have a line for ``torchprotect``, run in this
process where each of their lines calls ``torchprotect``, else in bash. Other blocks, such as ``text``, are not run, and
neither are lines that install packages or copy photographs: ``photos/`` is there, with fewer of them for audits.

Comments on pages, which readers do not see, skip a snippet that cannot run here and say why, or prepare for it:
``% skip: next "needs a cluster"`` or ``% invisible-code-block: python``; in the README the same between ``<!--`` and
``-->``. A condition is ``% skip: next if(not installed("timm", "1.0"), reason="timm is not installed")``. Files that
pages expect are made in ``samples.py``.
"""

import os
import re
import shlex
import subprocess
import sys
import unittest
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
from packaging.version import Version
from samples import SAMPLES, write_photos
from sybil import Sybil
from sybil.evaluators.python import PythonEvaluator
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer
from sybil.parsers.myst import CodeBlockParser, SkipParser
from typer.testing import CliRunner

from torchprotect import cli

ROOT = Path(__file__).parents[2]
FOLDERS = ("guides", "explain", "reference")
FOR_READERS = ("#", "pip install", "cp -r \"$(python -c 'from torchprotect.demo import PHOTOGRAPHS")
PROGRAMS = """
python() { "$PYTHON" "$@"; }
torchprotect() { python -m torchprotect "$@"; }
torchrun() { python -m torch.distributed.run "$@"; }
"""
_python = PythonEvaluator()


def run_python(example):
    __tracebackhide__ = True
    file = re.match(r"# (\w+\.py)\n", example.parsed)
    if file:
        Path(file[1]).write_text(example.parsed)
    _python(example)


def run_command(line):
    """Run one ``torchprotect`` command in this process; its output may go to a file, as in ``.. > alice.pub``."""
    _, *words = shlex.split(os.path.expandvars(line), comments=True)
    *words, out = [*words[:-2], words[-1]] if words[-2:-1] == [">"] else [*words, None]
    result = CliRunner().invoke(cli.app, words)
    assert result.exit_code == 0, f"{line}\n{result.output}"
    if out is not None:
        Path(out).write_text(result.stdout)


def run_shell(example):
    lines = example.parsed.replace("\\\n", " ").splitlines()
    lines = [line for line in lines if line and not line.startswith(FOR_READERS)]
    if all(re.match(r"torchprotect [^;&|]*$", line) for line in lines):
        for line in lines:
            run_command(line)
        return
    environment = {**os.environ, "PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        ["bash", "-euc", "\n".join([PROGRAMS, *lines])], capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, f"{example.parsed}\n{done.stdout}{done.stderr}"


def commands_without_language(document):
    for region in FencedCodeBlockLexer(language="")(document):
        if re.search("^torchprotect ", region.lexemes["source"], re.M):
            region.parsed, region.evaluator = region.lexemes["source"], run_shell
            yield region


SYBIL = Sybil(
    [CodeBlockParser("python", run_python), CodeBlockParser("bash", run_shell), commands_without_language, SkipParser()]
)


def pages_with_snippets():
    """Return the pages of the manual, as paths from the root, that have anything to run."""
    pages = [ROOT / "README.md", ROOT / "docs/index.md"]
    for folder in FOLDERS:
        pages += sorted((ROOT / "docs" / folder).rglob("*.md"))
    return [str(page.relative_to(ROOT)) for page in pages if list(SYBIL.parse(page).examples())]


def installed(*packages):
    """Return whether packages are there, each named with its lowest version; for conditions in comments on pages."""
    try:
        return all(Version(version(name)) >= Version(lowest) for name, lowest in zip(packages[::2], packages[1::2]))
    except PackageNotFoundError:
        return False


def run_page(page):
    """Run the snippets of a page in the current folder, and return the names that they leave."""
    document = SYBIL.parse(ROOT / page)
    torch.manual_seed(0)
    if "photos" in document.text:
        long = re.search("torchprotect (audit|compare)", document.text)
        write_photos(Path("photos"), Path("later"), every=5 if long else 1)
    if page in SAMPLES:
        SAMPLES[page]()
    document.namespace.update(__name__="page", installed=installed)
    ran, reasons = 0, []
    for example in document.examples():
        try:
            example.evaluate()
        except unittest.SkipTest as reason:  # of a comment on the page
            reasons.append(str(reason))
        else:
            ran += example.region.evaluator in (run_python, run_shell)
    if not ran:
        pytest.skip("; ".join(dict.fromkeys(reasons)))
    return document.namespace
