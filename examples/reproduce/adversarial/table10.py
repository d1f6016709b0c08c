"""Table 10 of "Adversarial Data Encryption": adapting from perturbed to clean images by Generate To Adapt.

The attacker has the released images with their labels and clean images without labels. The paper's first column, from
clean CIFAR-10 to another collection of the same classes, shows that the method works; here the attacker's clean images
made darker stand for such a shift.

Usage: python adversarial/table10.py --source fashion-mnist:ROOT [--scale check|smoke|paper] [--out DIR]
"""

import torch
from adversarial_world import Table, World, as_floats, read_world

from torchprotect import attacks
from torchprotect.models import GTANetworks

PAPER = {"clean to shifted": (83.80, 89.28), "released to clean": (28.73, 49.72)}
SMALL = {"features": 64, "width": 16, "noise": 64}
FULL = {"features": 128, "width": 64, "noise": 512}


def adapt(world: World, source: torch.Tensor, shift: float) -> attacks.DomainAdaptationResult:
    """Adapt from labelled images to the attacker's clean ones, multiplied by ``shift``."""
    torch.manual_seed(23)
    full = world.scale.recipe == "sgd"
    height, width = source.shape[-2:]
    networks = GTANetworks(source.shape[1], world.classes, (height, width), **(FULL if full else SMALL))
    images, labels = as_floats(world.test)
    return attacks.adapt_gta(
        source,
        world.train.labels,
        as_floats(world.other)[0] * shift,
        (images * shift, labels),
        networks=networks.to(world.device),
        epochs=100 if full else world.scale.epochs,
    )


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    released = world.released("basic").images.float() / 255
    found = {
        "clean to shifted": adapt(world, as_floats(world.train)[0], 0.5),
        "released to clean": adapt(world, released, 1.0),
    }
    columns = ["", "source only", "adapted", "adapted, best epoch", "paper: source only", "paper: adapted"]
    table = Table("Table 10: accuracy of Generate To Adapt, percent", columns)
    for name, result in found.items():
        table.row(name, 100 * result.source_only, 100 * result.last, 100 * result.peak, *PAPER[name])
        table.direction(f"{name}: adaptation helps", result.last > result.source_only)
    gap = found["clean to shifted"].last - found["released to clean"].last
    table.direction("from released images it stays far below (by 20 points)", gap > 0.2)
    table.finish(world, "table10")


if __name__ == "__main__":
    main()
