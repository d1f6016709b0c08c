"""``torchprotect status``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchprotect.cli._common import PassphraseFile, counted, errors_as_exit_codes, load_optional_key
from torchprotect.cli._say import say

if TYPE_CHECKING:
    from torchprotect.data import ExportStatus

_UNFINISHED = 3
_SHOWN = 10


def status(
    export: Annotated[str, typer.Argument(help="Folder or URL of an export, finished or not.", metavar="EXPORT")],
    key: Annotated[
        Path | None,
        typer.Option(help="Key file; needed only to show the parts of a sealed export.", dir_okay=False),
    ] = None,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Show the progress of an export, on all machines together.

    Prints how many shards are finished, the rate, the time left, which shards are missing, and which parts seem to have
    stopped. Verifies nothing. The exit code is 0 if the export is finished, 3 if it is not.
    """
    with errors_as_exit_codes():
        from torchprotect import data

        found = data.status(export, load_optional_key(key, passphrase_file))
        say(f"{export}: {_summary(found)}")
        for part in found.parts:
            line = f"part {part.name}: {part.done:,} of {counted(part.shards, 'shard')}"
            say(f"{line}; it seems to have stopped: start it again" if part.stopped else line)
        if not found.finished or found.missing:
            raise typer.Exit(_UNFINISHED)


def _summary(found: "ExportStatus") -> str:
    missing = ", ".join(map(str, found.missing[:_SHOWN])) + (", .." if len(found.missing) > _SHOWN else "")
    if found.finished:
        state = f"finished, {counted(found.images, 'image')} in {counted(found.shards, 'shard')}"
        return f"{state}; deleted since: {missing}; run the export again to repair it" if missing else state
    done = f"{found.done:,} of {counted(found.shards, 'shard')} done"
    rate = f", {found.rate:,.1f} a minute" if found.rate is not None else ""
    left = f", about {_duration(found.seconds_left)} left" if found.seconds_left is not None and found.missing else ""
    if not found.missing:
        return f"{done}{rate}; run the export without --part to finish it"
    return f"{done}{rate}{left}; missing: {missing}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
