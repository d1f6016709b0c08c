"""Text on a terminal. Names come from strangers' files, and may hold what a terminal takes for commands."""

import typer


def clean(text: object) -> str:
    """Return text as one line without control characters and the like, each of which becomes a question mark."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def say(text: object) -> None:
    """Print one line on standard output."""
    typer.echo(clean(text))


def complain(text: object) -> None:
    """Print one line on standard error, in red where that is a terminal."""
    typer.secho(clean(text), fg="red", err=True)


def remark(text: object) -> None:
    """Print one line on standard error."""
    typer.echo(clean(text), err=True)
