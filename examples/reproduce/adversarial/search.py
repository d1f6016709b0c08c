"""How many images a search moves to their target, by radius and number of steps. The paper has one of each.

The base network itself says which class it takes a perturbed image for; no network is trained on the results.

Usage: python adversarial/search.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import search_measures as measures
from adversarial_world import Table, World, mean, minus, numbers, read_world, spread


def tables(world: World) -> None:
    """Make the table."""
    images = world.scale.attacked
    table = Table(f"Search: images moved to their target, percent of {images}", ["eps", "steps", "moved", "±"])
    released = None
    for eps, steps in world.scale.searches:  # that of the release is the first
        moved = numbers(world.each(measures.search, eps=eps, steps=steps, images=images), "moved")
        table.row(f"{eps:g}", str(steps), mean(moved), spread(moved))
        released = released or moved
        if moved is not released:
            says = f"eps {eps:g}, {steps} steps: moves 3 points more images than the release's search"
            table.claim(says, minus(moved, released, 3), ours=moved)
    table.finish(world, "search")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
