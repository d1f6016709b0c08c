"""The command ``torchprotect``: one file a verb, thin over the library."""

import os
from typing import Annotated

import typer

from torchprotect._version import __version__
from torchprotect.cli.audit import audit
from torchprotect.cli.demo import demo
from torchprotect.cli.export import export
from torchprotect.cli.inspect import inspect
from torchprotect.cli.keygen import keygen
from torchprotect.cli.verify import verify

app = typer.Typer(
    name="torchprotect",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables would print keys
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and end.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Disguise images for machine learning. Obfuscation, not cryptographic confidentiality."""


for command in (keygen, inspect, export, verify, audit, demo):
    app.command()(command)


def main() -> None:
    """Run the command line."""
    _make_idle_threads_sleep()
    app()


def _make_idle_threads_sleep() -> None:
    """Keep OpenMP threads from spinning while they wait, unless the environment already says how they should wait.

    Spinning threads take the cores from every other process on the machine. OpenMP reads the setting when torch loads,
    so this must come first; worker processes inherit it.
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")):
        os.environ["OMP_WAIT_POLICY"] = "passive"
