"""``torchprotect export``."""

import enum
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from torchprotect.cli._common import PassphraseFile, by_size, counted, errors_as_exit_codes, load_key, progress_bar


class OnError(str, enum.Enum):
    """What to do at an unreadable image."""

    STOP = "stop"
    SKIP = "skip"


def export(
    source: Annotated[
        str,
        typer.Argument(
            help="Image folder (root/class/*.png), WebDataset pattern (train-{000000..000020}.tar), or mnist:ROOT, "
            "fashion-mnist:ROOT, cifar10:ROOT with torchvision's root; add :test for the test split."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder to write; an unfinished export in it is resumed.")],
    key: Annotated[Path, typer.Option(help="Key file from `torchprotect keygen`.", dir_okay=False)],
    noise: Annotated[float | None, typer.Option(help="RMT: noise up to so many grey levels (0..255 scale).")] = None,
    salt_pepper: Annotated[float, typer.Option(help="Share of plain pixels turned black or white.")] = 0.0,
    unit_pixels: Annotated[int | None, typer.Option(help="AES: pixels in a unit: 16, 8, 4 or 2.")] = None,
    shard_size: Annotated[int, typer.Option(help="Images in a shard.", min=1)] = 1000,
    workers: Annotated[int, typer.Option(help="Worker processes; 0 works in this one.", min=0)] = 0,
    on_error: Annotated[
        OnError, typer.Option(help="At an unreadable image: stop, or skip and list it.")
    ] = OnError.STOP,
    passphrase_file: PassphraseFile = None,
) -> None:
    """Disguise every image of SOURCE and write WebDataset shards with a manifest to OUT.

    Run the same command again to finish an interrupted export; the bytes are the same as without the interruption.
    """
    with errors_as_exit_codes():
        from torchvision.transforms import v2

        from torchprotect import data, transforms

        opened, secret = data.open_source(source), load_key(key, passphrase_file)
        given: dict[str, Any] = {"noise": noise, "unit_pixels": unit_pixels}
        transform: Any = transforms.from_key(secret, **{k: v for k, v in given.items() if v is not None})
        if salt_pepper:
            transform = v2.Compose([transforms.SaltAndPepper(salt_pepper), transform])
        start = time.monotonic()
        with progress_bar("exporting") as progress:
            result = data.export(
                opened,
                out,
                transform=transform,
                key=secret,
                shard_size=shard_size,
                workers=workers,
                progress=progress,
                on_error=on_error.value,
            )
        for name in result.skipped:
            typer.secho(f"skipped: {name}", fg="yellow", err=True)
        typer.echo(
            f"{out}: {counted(result.images, 'image')} in {counted(result.shards, 'shard')}, {by_size(result.size)}, "
            f"{len(result.skipped)} skipped, {time.monotonic() - start:.1f} s"
        )
