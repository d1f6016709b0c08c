"""Options that prepare pictures before the disguise."""

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from torchprotect.cli._common import parse_size

if TYPE_CHECKING:
    from torchprotect.data import Preparation

PANEL = "Preparation of pictures, in this order"

Exif = Annotated[
    bool, typer.Option("--exif", help="Turn pictures as their EXIF orientation says.", rich_help_panel=PANEL)
]
Mode = Annotated[
    Literal["rgb", "grey"] | None,
    typer.Option(help="Convert all pictures, palettes too, to colour or to grey.", rich_help_panel=PANEL),
]
Resize = Annotated[
    str | None,
    typer.Option(
        help="Resize to this size, or, given one number, to that length of the shorter side.",
        metavar="HxW|N",
        rich_help_panel=PANEL,
    ),
]
Crop = Annotated[
    str | None, typer.Option(help="Keep this size around the centre.", metavar="HxW", rich_help_panel=PANEL)
]
Pad = Annotated[
    str | None, typer.Option(help="Pad with black to this size on all sides.", metavar="HxW", rich_help_panel=PANEL)
]


def make_preparation(
    exif: bool, mode: Literal["rgb", "grey"] | None, resize: str | None, crop: str | None, pad: str | None
) -> "Preparation":
    """Return the preparation that these options ask for."""
    from torchprotect.data import Preparation

    return Preparation(
        exif=exif,
        mode=mode,
        resize=None if resize is None else int(resize) if resize.isdecimal() else parse_size(resize),
        crop=None if crop is None else parse_size(crop),
        pad=None if pad is None else parse_size(pad),
    )
