"""Helpers shared by the commands: exit codes, keys and passphrases, progress bars, formatting."""

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from torchprotect.cli._say import complain

if TYPE_CHECKING:
    from torchprotect.data import Progress
    from torchprotect.keys import Key

PassphraseFile = Annotated[
    Path | None,
    typer.Option(
        help="File whose first line is the key's passphrase.",
        dir_okay=False,
        show_default="asked for on the terminal, if the key needs one",
    ),
]

_LONGEST_PASSPHRASE = 1 << 16  # bytes; the file may be an endless device


@contextmanager
def errors_as_exit_codes() -> Iterator[None]:
    """Turn an expected error into one line on standard error and exit code 1; Ctrl-C into 130."""
    from torchprotect.errors import ProtectError

    try:
        yield
    except ProtectError as error:
        complain(f"error: {error}")
        raise typer.Exit(1) from error
    except BrokenPipeError:  # as in `torchprotect inspect OUT | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter's final flush fails
        raise typer.Exit(1) from None
    except OSError as error:
        named = f"{error.strerror}: {error.filename}" if error.filename and error.strerror else str(error)
        complain(f"error: {named}")
        raise typer.Exit(1) from error
    except KeyboardInterrupt:
        complain("interrupted; run the same command again to continue")
        raise typer.Exit(130) from None


def require_folder(page: Path) -> None:
    """Check that the folder of a page exists, before anything heavy is loaded.

    Raises:
        ExportError: it does not exist.
    """
    from torchprotect.errors import ExportError

    if not page.parent.is_dir():
        raise ExportError(f"the folder to write {page} into does not exist")


def read_passphrase(file: Path) -> str:
    """Return the passphrase in a file or pipe: everything before the first line feed.

    Raises:
        PassphraseError: it is empty, blank or very long, or the file is not plain UTF-8 with Unix line endings.
    """
    from torchprotect.errors import PassphraseError

    with file.open("rb") as stream:
        line = stream.readline(_LONGEST_PASSPHRASE + 1).removesuffix(b"\n")
    if len(line) > _LONGEST_PASSPHRASE:
        raise PassphraseError(
            f"the first line of {file} is longer than {_LONGEST_PASSPHRASE:,} bytes; is it a passphrase file?"
        )
    if line.startswith(codecs.BOM_UTF8):
        raise PassphraseError(f"{file} begins with a byte order mark; save it as UTF-8 without one")
    if line.endswith(b"\r"):
        raise PassphraseError(
            f"the first line of {file} ends with a carriage return, as with Windows line endings; use Unix line endings"
        )
    try:
        passphrase = line.decode()
    except UnicodeDecodeError:
        raise PassphraseError(f"{file} is not UTF-8 text; save it as UTF-8") from None
    if not passphrase.strip():
        raise PassphraseError(f"the first line of {file} is empty or blank; write the passphrase there")
    return passphrase


def load_key(path: Path, passphrase_file: Path | None) -> "Key":
    """Load a key; ask for its passphrase if it needs one and standard input is a terminal."""
    from torchprotect import keys

    passphrase = None
    if passphrase_file is not None:
        passphrase = read_passphrase(passphrase_file)
    elif keys.peek(path).kind == "wrapped" and sys.stdin.isatty():
        passphrase = typer.prompt("Passphrase", hide_input=True, err=True)
    return keys.load(path, passphrase)


def load_optional_key(path: Path | None, passphrase_file: Path | None) -> "Key | None":
    """Load a key if one was given."""
    if path is not None:
        return load_key(path, passphrase_file)
    if passphrase_file is not None:
        raise typer.BadParameter(
            "--passphrase-file holds the passphrase of the key, so it needs --key; to open a sealed export with a "
            "passphrase, use --open-passphrase-file"
        )
    return None


@contextmanager
def progress_bar(title: str) -> Iterator["Progress | None"]:
    """Show images done, rate and time left on standard error, if it is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        auto_refresh=False,  # no drawing thread, because worker processes may be forked meanwhile
        transient=True,
    )
    with bar:
        task = bar.add_task(title, total=None, rate="")

        def advance(done: int, total: int) -> None:
            speed = bar.tasks[task].speed
            bar.update(task, completed=done, total=total, rate=f"{speed:,.0f} images/s" if speed else "", refresh=True)

        yield advance


def parse_size(text: str) -> tuple[int, int]:
    """Parse a size in pixels, written as HxW."""
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise typer.BadParameter(f"{text!r} is not a size; write height x width in pixels, for example 28x28")
    return int(height), int(width)


def given(**options: Any) -> dict[str, Any]:
    """Return the options that are not ``None``."""
    return {name: value for name, value in options.items() if value is not None}


def flag(option: str) -> str:
    """Return the spelling of an option on the command line: ``image_size`` as ``--image-size``."""
    return f"--{option.replace('_', '-')}"


def counted(number: int, thing: str) -> str:
    """Return a number with its noun: 1 shard, 2,000 images."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"


def by_size(size: int) -> str:
    """Return a number of bytes in MB or GB."""
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
