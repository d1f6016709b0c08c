"""``torchprotect compare``."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from torchprotect.cli._common import errors_as_exit_codes, require_folder
from torchprotect.cli._prepare import Crop, Exif, Mode, Pad, Resize, make_preparation
from torchprotect.cli._say import say

if TYPE_CHECKING:
    from torchprotect.audit import Progress


def compare(
    source: Annotated[
        str,
        typer.Argument(
            help="Plain images with labels, given as for `torchprotect export`: at least 100, of two classes or more.",
            metavar="SOURCE",
        ),
    ],
    report: Annotated[
        Path | None,
        typer.Option(
            help="HTML page to write; `page.json` is written beside `page.html`. Only an earlier comparison is "
            "overwritten. Required, except with `--print-settings`.",
            dir_okay=False,
        ),
    ] = None,
    settings: Annotated[
        Path | None,
        typer.Option(
            help="Settings to compare: a JSON file, or a TOML file if its name ends in `.toml` (Python 3.11 or later).",
            dir_okay=False,
            show_default="settings that suit the size of the images",
        ),
    ] = None,
    print_settings: Annotated[
        bool,
        typer.Option(
            "--print-settings", help="Print the default settings for these images as a JSON settings file, and exit."
        ),
    ] = False,
    labels_from: Annotated[
        str | None,
        typer.Option(
            help="Where the labels of SOURCE come from, as for `torchprotect export`.",
            metavar="txt|json:FIELD|FILE",
            show_default="class folders, or .cls members",
        ),
    ] = None,
    exif: Exif = False,
    mode: Mode = None,
    resize: Resize = None,
    crop: Crop = None,
    pad: Pad = None,
    fast: Annotated[bool, typer.Option("--fast", help="Compare fewer settings, with less work for each.")] = False,
    limit: Annotated[int, typer.Option(help="Largest number of images to read, drawn from SOURCE.", min=100)] = 2_000,
    probe: Annotated[
        bool, typer.Option(help="Also measure a probe of a pretrained network, if EfficientNet-Lite0 is installed.")
    ] = True,
    device: Annotated[
        str, typer.Option(help="Device that runs attacks and networks, such as `cpu` or `cuda`.", metavar="DEVICE")
    ] = "cpu",
) -> None:
    """Compare settings of disguises on your own images: what a network learns against what attacks find.

    Images are disguised in memory under fresh keys that are thrown away; nothing is exported. The page shows what a
    network keeps and what the attacks of the audit find, at each level of knowledge. Needs the extra `audit`. Run the
    same command again to continue an interrupted comparison.
    """
    if report is None and not print_settings:
        raise typer.BadParameter("give --report FILE, the page to write, or --print-settings")
    with errors_as_exit_codes():
        if report is not None:
            require_folder(report)
        from torchprotect import audit

        prepare = make_preparation(exif, mode, resize, crop, pad)
        if print_settings:
            from torchprotect.audit.comparison.reading import as_json
            from torchprotect.audit.comparison.run import defaults_for

            typer.echo(as_json(defaults_for(source, labels_from=labels_from, prepare=prepare, fast=fast).settings))
            return
        with _progress() as progress:
            found = audit.compare(
                source,
                settings=settings,
                labels_from=labels_from,
                prepare=prepare,
                report=report,
                fast=fast,
                limit=limit,
                probe=probe,
                device=device,
                progress=progress,
            )
        for each in found.advice:
            say(f"{each.question}: {each.sentence}")
        say(f"{report}: {len(found.settings)} settings, {found.facts['seconds']} s")


@contextmanager
def _progress() -> Iterator["Progress | None"]:
    """Show the current step, progress, rate and time left on standard error, if it is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
    with Progress(*columns, TextColumn("{task.description}"), console=Console(stderr=True), transient=True) as drawn:
        task = drawn.add_task("reading", total=None, rate="")

        def advance(name: str, done: int, total: int) -> None:
            speed = drawn.tasks[task].speed
            rate = f"{60 * speed:,.0f} steps/min" if speed else ""
            drawn.update(task, completed=done, total=total, description=name, rate=rate)

        yield advance
