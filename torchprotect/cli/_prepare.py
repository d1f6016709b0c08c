"""Options that prepare pictures before they are disguised."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from torchprotect.cli._common import parse_size

if TYPE_CHECKING:
    from torchprotect.data import Preparation

PANEL = "Preparation, in this order"

Exif = Annotated[
    bool,
    typer.Option("--exif", help="Rotate and mirror pictures as their EXIF orientation says.", rich_help_panel=PANEL),
]
Mode = Annotated[
    Literal["rgb", "grey"] | None,
    typer.Option(
        help="Convert all pictures, including palette images, to colour or grey, and drop opaque alpha channels.",
        show_default="the mode of each picture",
        rich_help_panel=PANEL,
    ),
]
Resize = Annotated[
    str | None,
    typer.Option(
        help="Resize to height x width in pixels, or scale the shorter side to N pixels.",
        metavar="HxW|N",
        show_default="sizes stay as they are",
        rich_help_panel=PANEL,
    ),
]
Crop = Annotated[
    str | None,
    typer.Option(help="Crop to this size around the centre, in pixels.", metavar="HxW", rich_help_panel=PANEL),
]
Pad = Annotated[
    str | None,
    typer.Option(help="Pad with black on all sides to this size, in pixels.", metavar="HxW", rich_help_panel=PANEL),
]


def make_preparation(
    exif: bool, mode: Literal["rgb", "grey"] | None, resize: str | None, crop: str | None, pad: str | None
) -> "Preparation":
    """Return the preparation that the options describe."""
    from torchprotect.data import Preparation

    return Preparation(
        exif=exif,
        mode=mode,
        resize=None if resize is None else int(resize) if resize.isdecimal() else parse_size(resize),
        crop=None if crop is None else parse_size(crop),
        pad=None if pad is None else parse_size(pad),
    )
