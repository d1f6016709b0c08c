"""The picture grid: plain images beside each disguise."""

import io

import PIL.Image
import PIL.ImageDraw
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

_CELL, _GAP, _TITLE = 112, 6, 22


def to_shown(image: Tensor) -> PIL.Image.Image:
    """Return a cell's picture of ``[1 or 3, H, W]``; values beyond 0..255, as RMT gives, are stretched to be seen."""
    pixels = image.float()
    low, high = min(0.0, float(pixels.min())), max(255.0, float(pixels.max()))
    shown = ((pixels - low) * (255 / (high - low))).round().byte()
    picture = to_pil_image(shown).convert("RGB")
    return picture.resize((_CELL, _CELL), PIL.Image.Resampling.NEAREST)


def draw_grid(columns: dict[str, list[Tensor]]) -> bytes:
    """Return a PNG with one titled column for each entry, one row for each image."""
    rows = max(len(images) for images in columns.values())
    width, height = len(columns) * (_CELL + _GAP) + _GAP, _TITLE + rows * (_CELL + _GAP) + _GAP
    canvas = PIL.Image.new("RGB", (width, height), "white")
    draw = PIL.ImageDraw.Draw(canvas)
    for column, (title, images) in enumerate(columns.items()):
        left = _GAP + column * (_CELL + _GAP)
        draw.text((left, 5), title, fill="black")
        for row, image in enumerate(images):
            canvas.paste(to_shown(image), (left, _TITLE + row * (_CELL + _GAP)))
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()
