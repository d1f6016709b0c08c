"""The command ``torchprotect``: a thin layer over the library, one file per verb."""

import os
from collections.abc import Callable
from inspect import cleandoc
from typing import Annotated

import typer

from torchprotect._version import __version__
from torchprotect.cli.audit import audit
from torchprotect.cli.compare import compare
from torchprotect.cli.demo import demo
from torchprotect.cli.disguise import disguise
from torchprotect.cli.export import export
from torchprotect.cli.index import index
from torchprotect.cli.inspect import inspect
from torchprotect.cli.keygen import keygen
from torchprotect.cli.open import open_export
from torchprotect.cli.predict import predict
from torchprotect.cli.recipients import recipients
from torchprotect.cli.rekey import rekey
from torchprotect.cli.restore import restore
from torchprotect.cli.seal import seal
from torchprotect.cli.status import status
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
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Disguise images for machine learning. Disguises are obfuscation, not cryptographic confidentiality."""


def _help_of(command: Callable[..., None]) -> str:
    """Return the description of a command with one line per paragraph, so that it wraps at any terminal width."""
    paragraphs = cleandoc(command.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


_VERBS: dict[str, dict[str, Callable[..., None]]] = {
    "Keys": {"keygen": keygen},
    "Exports": {
        "export": export,
        "status": status,
        "verify": verify,
        "inspect": inspect,
        "restore": restore,
        "rekey": rekey,
        "index": index,
    },
    "Sealed exports": {"seal": seal, "open": open_export, "recipients": recipients},
    "Models": {"disguise": disguise, "predict": predict},
    "What a disguise leaks and keeps": {"audit": audit, "compare": compare, "demo": demo},
}
for _panel, _commands in _VERBS.items():
    for _name, _command in _commands.items():
        app.command(_name, help=_help_of(_command), rich_help_panel=_panel)(_command)


def main() -> None:
    """Run the command line."""
    _make_idle_threads_sleep()
    app()


def _make_idle_threads_sleep() -> None:
    """Keep idle OpenMP threads from spinning, unless the environment already configures how they wait.

    Spinning threads occupy cores that other processes need. OpenMP reads the setting when torch loads,
    so this must come first; worker processes inherit it.
    """
    if not any(name in os.environ for name in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")):
        os.environ["OMP_WAIT_POLICY"] = "passive"
