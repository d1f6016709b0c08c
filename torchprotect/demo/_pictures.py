"""The picture grid: plain images beside each disguise."""

import io

import PIL.Image
import PIL.ImageDraw
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

_CELL, _GAP, _TITLE = 112, 6, 22


def to_shown(image: Tensor, cell: int) -> PIL.Image.Image:
    """Return ``[1 or 3, H, W]`` as a picture of ``cell`` pixels on each side.

    Values beyond 0..255, as RMT gives, are rescaled to be visible.
    """
    pixels = image.float()
    low, high = min(0.0, float(pixels.min())), max(255.0, float(pixels.max()))
    shown = ((pixels - low) * (255 / (high - low))).round().byte()
    picture = to_pil_image(shown).convert("RGB")
    return picture.resize((cell, cell), PIL.Image.Resampling.NEAREST)


def draw_grid(columns: dict[str, list[Tensor]], cell: int = _CELL) -> bytes:
    """Return a PNG with one titled column for each entry, one row for each image; cells of ``cell`` pixels."""
    rows = max(len(images) for images in columns.values())
    width, height = len(columns) * (cell + _GAP) + _GAP, _TITLE + rows * (cell + _GAP) + _GAP
    canvas = PIL.Image.new("RGB", (width, height), "white")
    draw = PIL.ImageDraw.Draw(canvas)
    for column, (title, images) in enumerate(columns.items()):
        left = _GAP + column * (cell + _GAP)
        draw.text((left, 3), title, fill="black", font_size=cell // 9)
        for row, image in enumerate(images):
            canvas.paste(to_shown(image, cell), (left, _TITLE + row * (cell + _GAP)))
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
