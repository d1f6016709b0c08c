"""Draw how each disguise works on one photograph of the package, for light and for dark pages.

Usage: python docs/draw/schemes.py. Keys are fresh in each run, so pixels will differ.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import matplotlib.pyplot as plt
import PIL.Image
import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect import data, demo, functional, keys, transforms

OUT = Path(__file__).parents[1] / "images" / "schemes"
PHOTOGRAPH = Path(demo.PHOTOGRAPHS) / "animals" / "29.jpg"
SIDE, BLOCK = 64, 16
MARK = "#ff9f1c"
INK = {"light": "#222222", "dark": "#dddddd"}


@contextmanager
def page(name: str, panels: int, *, width: float) -> Iterator[list[tuple[str, list[Axes]]]]:
    """Give the colour of text and a row of empty axes for each kind of page; save their pictures."""
    figures = {theme: plt.subplots(1, panels, figsize=(width, width / panels + 0.35)) for theme in INK}
    yield [(INK[theme], list(axes)) for theme, (_, axes) in figures.items()]
    for theme, (figure, axes) in figures.items():
        for axis in axes:
            axis.set(xticks=[], yticks=[])
            axis.title.set_color(INK[theme])
            axis.xaxis.label.set_color(INK[theme])
            for spine in axis.spines.values():
                spine.set_edgecolor(INK[theme])
        figure.tight_layout(pad=0.3)
        figure.savefig(OUT / f"{name}-{theme}.png", dpi=130, transparent=True)
        plt.close(figure)


def show(axis: Axes, image: Tensor, title: str, note: str = "") -> None:
    """Show ``[3, H, W]`` on 0..255; real numbers beyond it are stretched."""
    image = image.float()
    low, high = min(0.0, float(image.min())), max(255.0, float(image.max()))
    axis.imshow(((image - low) / (high - low)).permute(1, 2, 0), interpolation="nearest")
    axis.set_title(title, fontsize=9)
    axis.set_xlabel(note, fontsize=8)


def mark(axis: Axes, row: int, column: int, side: int) -> None:
    """Frame one block."""
    axis.add_patch(
        Rectangle((column * side - 0.5, row * side - 0.5), side, side, fill=False, edgecolor=MARK, linewidth=2)
    )


def grid(axis: Axes, side: int) -> None:
    """Draw the lines between blocks."""
    for at in range(side, SIDE, side):
        axis.axhline(at - 0.5, color="#999999", linewidth=0.7)
        axis.axvline(at - 0.5, color="#999999", linewidth=0.7)


def block_of(image: Tensor, row: int, column: int, side: int) -> Tensor:
    return image[..., row * side : (row + 1) * side, column * side : (column + 1) * side]


def draw_block_permute(photograph: Tensor) -> None:
    key = keys.PermutationKey.generate(image_size=(SIDE, SIDE), block_size=(BLOCK, BLOCK))
    row, column = 1, 1  # the parrot's head
    source = row * (SIDE // BLOCK) + column
    target = divmod(key.order.tolist().index(source), SIDE // BLOCK)
    with page("block-permute", 3, width=6.5) as pages:
        for ink, axes in pages:
            show(axes[0], photograph, "plain", "16 blocks")
            axes[1].set(xlim=(-0.5, SIDE - 0.5), ylim=(SIDE - 0.5, -0.5), aspect="equal")
            axes[1].set_title("key: order of the blocks", fontsize=9)
            axes[1].set_xlabel("the block that lies at each position", fontsize=8)
            for position, block in enumerate(key.order.tolist()):
                y, x = divmod(position, SIDE // BLOCK)
                axes[1].text(
                    *((each + 0.5) * BLOCK - 0.5 for each in (x, y)), block, color=ink, ha="center", va="center"
                )
            show(axes[2], functional.block_permute(photograph, key), "disguised", "the same 16 blocks")
            for axis in axes:
                grid(axis, BLOCK)
            mark(axes[0], row, column, BLOCK)
            mark(axes[1], *target, BLOCK)
            mark(axes[2], *target, BLOCK)


def draw_aes(photograph: Tensor) -> None:
    size = {"image_size": (SIDE, SIDE), "block_size": (4, 4)}
    flat = photograph.clone()
    flat[:, 40:52, 8:24] = torch.tensor([225, 205, 160], dtype=torch.uint8)[:, None, None]
    own = transforms.AESECBDisguise(keys.AESKey.generate(**size))
    one = transforms.AESECBDisguise(keys.AESKey.generate(**size, shared=True))
    with page("aes-ecb", 5, width=9.5) as pages:
        for _, axes in pages:
            show(axes[0], flat, "plain", "with an even patch")
            show(axes[1], block_of(flat, 5, 1, 8), "four equal units", "of 16 pixels")
            show(axes[2], block_of(own(flat), 5, 1, 8), "four code words", "a key for each position")
            show(axes[3], block_of(one(flat), 5, 1, 8), "four equal code words", "one key for all positions")
            show(axes[4], own(flat), "disguised", "a key for each position")
            mark(axes[0], 5, 1, 8)
            mark(axes[4], 5, 1, 8)


def draw_rmt(photograph: Tensor) -> None:
    key = keys.RMTKey.generate(image_size=(SIDE, SIDE), block_size=(BLOCK, BLOCK))
    disguised = 255 * transforms.RMTDisguise(key)(photograph / 255)
    row, column = 1, 1
    matrix = key.matrices[row * (SIDE // BLOCK) + column].squeeze(0)
    with page("rmt", 5, width=9.5) as pages:
        for _, axes in pages:
            show(axes[0], photograph, "plain", "16 blocks")
            show(axes[1], block_of(photograph, row, column, BLOCK), "block X", "plus noise")
            axes[2].imshow(matrix, cmap="PuOr", interpolation="nearest")
            axes[2].set_title("times matrix R", fontsize=9)
            axes[2].set_xlabel("secret, one a position", fontsize=8)
            show(axes[3], block_of(disguised, row, column, BLOCK), "block X R", "mixes pixels of a row")
            show(axes[4], disguised, "disguised", "real numbers")
            mark(axes[0], row, column, BLOCK)
            mark(axes[4], row, column, BLOCK)


def main() -> None:
    OUT.mkdir(exist_ok=True)
    prepare = data.Preparation(mode="rgb", resize=(SIDE, SIDE))
    photograph = pil_to_tensor(prepare(PIL.Image.open(PHOTOGRAPH)))
    draw_block_permute(photograph)
    draw_aes(photograph)
    draw_rmt(photograph)


if __name__ == "__main__":
    main()
