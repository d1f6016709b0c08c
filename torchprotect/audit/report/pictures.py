"""Images as files that a page shows."""

import io

import PIL.Image
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

_LARGEST = 256  # pixels a side


def png(image: Tensor) -> bytes:
    """Return a PNG of ``[C, H, W]``; real numbers beyond black and white are rescaled to be visible."""
    pixels = image.detach().cpu().float()
    if image.is_floating_point():
        white = 255.0 if float(pixels.max()) > 1.5 else 1.0
        low, high = min(0.0, float(pixels.min())), max(white, float(pixels.max()))
        pixels = (pixels - low) * (255 / (high - low))
    shown = pixels.round().clamp(0, 255).to(torch.uint8)
    picture = to_pil_image(shown if len(shown) == 3 else shown[:1])
    picture.thumbnail((_LARGEST, _LARGEST), PIL.Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
