"""Table 6 and Figure 5 of "One Way Scrambling by Deconvolution": an autoencoder rebuilds plain images.

Once it reads the plain images themselves, once the scrambled ones, both brought to the same size; nine tenths are known
pairs. Mean squared error of pixels in 0..1, over the rest. "Mean image" is what always answering with the mean of the
known images gives. ``figure5.png`` has, from the top: plain images, rebuilt from plain, scrambled, rebuilt.

Usage: python owsd/table6.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import owsd_attack_measures as measures
import torch
from owsd_measures import split_by_share
from owsd_world import Table, World, mean, minus, numbers, read_world, spread
from torchvision.transforms.v2.functional import to_pil_image
from torchvision.utils import make_grid

PAPER = {"plain": (21.0, 4.0), "scrambled": (61.0, 1.0), "mean image": (None, None)}
SHOWN = 12


def tables(world: World) -> None:
    """Make the table and the picture."""
    scale = world.scale
    options = {"side": scale.pixels, "epochs": scale.autoencoder_epochs, "width": scale.autoencoder_width}
    found = {read: numbers(world.each(measures.autoencoder, read=read, **options), "error") for read in PAPER}
    pairs = scale.sizes.images * 9 // 10
    title = f"Table 6: mean squared error of the autoencoder (L2), thousandths, {pairs} pairs"
    table = Table(title, ["read", "ours", "±", "paper, 13500 pairs", "±"])
    for read, errors in found.items():
        table.row(read, mean(errors), spread(errors), *PAPER[read])
    known, hidden, middle = found.values()
    table.claim(
        "scrambled images are harder to rebuild (twice the error)",
        [error - 2 * easy for error, easy in zip(hidden, known, strict=True)],
        ours=hidden,
        paper="61 against 21",
    )
    table.claim(
        "rebuilt from scrambled ones, images are no better than the mean image",
        minus(hidden, middle),
        ours=middle,
        reason="What is rebuilt tells bright images from dark ones.",
    )
    table.finish(world, "table6")
    if not world.planning:
        _draw(world)


def _draw(world: World) -> None:
    """Draw some images of the first repetition, if what was rebuilt is still kept."""
    bench, scale = world.bench, world.scale
    side, how = scale.pixels, (scale.pixels, scale.autoencoder_epochs, scale.autoencoder_width)
    if not all(bench.kept.path("rebuilt", 0, read, *how).exists() for read in ("plain", "scrambled")):
        print("figure5.png is not drawn: the rebuilt images are no longer kept", flush=True)
        return
    plain, labels = bench.confidential
    test = split_by_share(labels, 0.9, 0).test
    known, hidden = (bench.kept.tensor(("rebuilt", 0, read, *how), torch.Tensor) for read in ("plain", "scrambled"))
    seen = measures.resized(measures.scrambled(bench, side)[test], plain.shape[-1])
    chosen = torch.linspace(0, len(test) - 1, SHOWN).long()  # test images are sorted by label
    rows = torch.cat([each[chosen] for each in (plain[test], known, seen, hidden)])
    large = rows.repeat_interleave(2, -1).repeat_interleave(2, -2)
    to_pil_image(make_grid(large, nrow=SHOWN, pad_value=255)).save(world.out / "figure5.png")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
