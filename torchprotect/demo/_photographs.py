"""Colour photographs for the page: disguised like the sample, but neither exported nor trained on."""

from pathlib import Path

import PIL.Image
import PIL.ImageOps
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect import transforms
from torchprotect.demo._cases import make_cases

PHOTOGRAPHS = str(Path(__file__).parent / "photographs")
"""The bundled photographs, named as a source: an image folder of 199 colour pictures in seven classes, 96 pixels or
more on each side, of 57 different sizes."""

PHOTOGRAPH_SIDE = 64
_SHOWN = ("animals/29", "fish/28", "windmills/01", "monuments/17", "tools/02", "household/07")


def disguise_photographs(names: tuple[str, ...] = _SHOWN) -> dict[str, list[Tensor]]:
    """Return the named photographs as squares, plain and in each disguise, with one fresh key per disguise."""
    plain = torch.stack([_load(name) for name in names])
    columns = {"plain": list(plain)}
    for case in make_cases((PHOTOGRAPH_SIDE, PHOTOGRAPH_SIDE), classes=2):
        disguise = transforms.from_key(case.bundle, **case.options)
        columns[case.name] = list(disguise.disguise_batch(plain).images)
    return columns


def _load(name: str) -> Tensor:
    """Return the middle square of a photograph, ``[3, PHOTOGRAPH_SIDE, PHOTOGRAPH_SIDE]``."""
    with PIL.Image.open(Path(PHOTOGRAPHS) / f"{name}.jpg") as photograph:
        return pil_to_tensor(PIL.ImageOps.fit(photograph, (PHOTOGRAPH_SIDE, PHOTOGRAPH_SIDE)))
