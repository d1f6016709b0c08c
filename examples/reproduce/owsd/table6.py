"""Table 6 and Figure 5 of "One Way Scrambling by Deconvolution": an autoencoder rebuilds plain images.

Once it reads the plain images themselves, once the scrambled ones, both brought to the same size; nine tenths are known
pairs. Mean squared error of pixels in 0..1, over the rest. "Mean image" is what always answering with the mean of the
known images gives. ``figure5.png`` has, from the top: plain images, rebuilt from plain, scrambled, rebuilt.

Usage: python owsd/table6.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import attack_measures
import safetensors.torch
import torch
from attack_measures import THOUSANDTHS
from owsd_bench import SMALL, resized
from owsd_world import Table, World, mean, minus, numbers, read_world, spread
from torchvision.transforms.v2.functional import to_pil_image
from torchvision.utils import make_grid

PAPER = {"plain": (0.021, 0.004), "scrambled": (0.061, 0.001), "mean image": (None, None)}


def tables(world: World) -> None:
    """Make the table and the picture."""
    epochs, width = world.scale.autoencoder_epochs, world.scale.autoencoder_width
    each = {read: world.each(attack_measures.rebuild, read=read, epochs=epochs, width=width) for read in PAPER}
    pairs = round(0.9 * world.scale.sizes.images)
    title = f"Table 6: mean squared error of the autoencoder (L2), thousandths, {pairs} pairs"
    table = Table(title, ["read", "ours", "±", "paper, 13500 pairs", "±"])
    for read, found in each.items():
        paper = (None if number is None else THOUSANDTHS * number for number in PAPER[read])
        table.row(read, mean(numbers(found, "error")), spread(numbers(found, "error")), *paper)
    known, hidden, guess = (numbers(found, "error") for found in each.values())
    table.claim(
        "scrambled images are harder to rebuild (twice the error)",
        minus(hidden, [2 * number for number in known]),
        ours=hidden,
        paper="61 to 21",
    )
    table.claim(
        "rebuilt from scrambled ones, images are no better than the mean image",
        minus(hidden, guess),
        ours=hidden,
        paper="incomprehensible",
        reason="Scrambled images show what their embeddings do, as re-identification and labels by their pixels tell.",
    )
    table.finish(world, "table6")
    if not world.planning:
        _draw(world)


def _draw(world: World) -> None:
    """Draw images of the first fold, if what they are made of is still kept."""
    bench, scale = world.bench, world.scale
    names = [
        attack_measures.rebuilt_name(0, read, scale.autoencoder_epochs, scale.autoencoder_width)
        for read in ("plain", "scrambled")
    ]
    paths, answers = [bench.kept.path(*name) for name in names], bench.answers_if_kept(world.encoder, 0)
    if answers is None or not all(path.exists() for path in paths):
        print("figure5.png is left out: its images are not kept in this folder", flush=True)
        return
    parts = attack_measures.pairs_of(bench, 0)
    chosen, plain = parts.test[attack_measures.shown(parts)], bench.confidential.images
    rebuilt = [safetensors.torch.load_file(path)["tensor"] for path in paths]
    rows = [plain[chosen], rebuilt[0], resized(answers[SMALL][chosen], plain.shape[-1]), rebuilt[1]]
    shown = torch.cat(rows).repeat_interleave(2, -1).repeat_interleave(2, -2)
    to_pil_image(make_grid(shown, nrow=len(chosen), pad_value=255)).save(world.out / "figure5.png")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
