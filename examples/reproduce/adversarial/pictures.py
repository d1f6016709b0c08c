"""Pictures of what perturbation does: plain images, perturbed ones, and the difference enlarged five times.

Writes ``adversarial.png`` into the folder of results: a column for each class, and under the plain images two rows each
for the basic plan, Horizontal Concat and Mixup And Concat.

Usage: python adversarial/pictures.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--eps EPS] [--out DIR]
"""

import torch
from adversarial_world import World, read_world
from common.images import Images
from torchvision.transforms.v2.functional import to_pil_image
from torchvision.utils import make_grid

PLANS = ("basic", "horizontal-concat", "mixup-and-concat")
ENLARGED, ZOOM = 5, 3


def tables(world: World) -> None:
    """Draw the pictures, of the first repetition."""
    if world.planning:
        return
    bench = world.bench
    first = [int((bench.test.labels == label).nonzero()[0]) for label in range(bench.sizes.classes)]
    plain = Images(bench.test.images[first], bench.test.labels[first])
    rows = [plain.images.float() / 255]
    for plan in PLANS:
        found = bench.perturbed("picture", plain, plan, 0, "label").images.float() / 255
        rows += [found, (0.5 + ENLARGED * (found - rows[0])).clamp(0, 1)]
    grid = make_grid(
        torch.cat(rows).repeat_interleave(ZOOM, -1).repeat_interleave(ZOOM, -2), nrow=len(first), pad_value=1.0
    )
    to_pil_image(grid).save(world.out / "adversarial.png")
    print(f"wrote {world.out / 'adversarial.png'}")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
