"""The command ``torchprotect``: one file a verb, thin over the library."""

import typer

from torchprotect.cli.demo import demo
from torchprotect.cli.export import export
from torchprotect.cli.inspect import inspect
from torchprotect.cli.keygen import keygen
from torchprotect.cli.verify import verify

app = typer.Typer(
    name="torchprotect",
    help="Disguise images for machine learning. Obfuscation, not cryptographic confidentiality.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # a traceback with local variables would print keys
)
for command in (keygen, inspect, export, verify, demo):
    app.command()(command)


def main() -> None:
    """Run the command line."""
    app()
