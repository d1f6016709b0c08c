"""Pictures for a person to look at: the worst, a median and the best image of an attack."""

import io

import PIL.Image
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from torchprotect.attacks import psnr
from torchprotect.audit._bench import Bench
from torchprotect.audit._finding import Example

_LARGEST = 256  # pixels a side
_EACH = 2
_RANKS = ("worst", "median", "best")


def examples(bench: Bench, images: Tensor, indices: Tensor) -> tuple[Example, ...]:
    """Return the images that are least like the plain ones, two in the middle, and those that are most like them."""
    if not bench.settings.pictures:
        return ()
    truth, disguised = bench.truth(indices), bench.disguised(indices)
    ranked, each = psnr(images, truth).argsort().tolist(), min(_EACH, len(images) // len(_RANKS))
    middle = (len(ranked) - each) // 2
    chosen = (ranked[:each], ranked[middle : middle + each], ranked[-each:])
    return tuple(
        Example(rank, *(png(each[place]) for each in (truth, disguised, images)))
        for rank, places in zip(_RANKS, chosen, strict=True)
        for place in places
    )


def png(image: Tensor) -> bytes:
    """Return a PNG of ``[C, H, W]``; real numbers beyond black and white are stretched to be seen."""
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
