"""Print text safely. Names come from untrusted files, and may contain escape sequences of terminals."""

import typer


def clean(text: object) -> str:
    """Return text as one line in which question marks replace unprintable characters."""
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
