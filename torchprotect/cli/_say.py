"""Print text safely: names from untrusted files may contain terminal escape sequences."""

import typer


def clean(text: object) -> str:
    """Return text as one line, with a question mark in place of each unprintable character."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def say(text: object) -> None:
    """Print one line on standard output."""
    typer.echo(clean(text))


def complain(text: object) -> None:
    """Print one line on standard error, in red if it is a terminal."""
    typer.secho(clean(text), fg="red", err=True)


def remark(text: object) -> None:
    """Print one line on standard error."""
    typer.echo(clean(text), err=True)
