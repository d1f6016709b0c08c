"""How strong a perturbation must be before a network answers as if every class were its target (Orig+P above Orig).

Not in the paper, which has one radius and one number of steps. Trained on released images, the first victim of Table 1
is tested as there: Enc on perturbed images, Orig on clean ones, Orig+P there with every answer replaced by its target.

Usage: python adversarial/strength.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import adversarial_measures as measures
from adversarial_world import Table, World, mean, minus, numbers, read_world, spread


def tables(world: World) -> None:
    """Make the table."""
    network = world.scale.victims[0]
    columns = ["eps", "steps", "moved to the target", "Enc", "Orig", "±", "Orig+P", "±"]
    table = Table(f"Strength of the perturbation: shares of images, and accuracy of {network}, in percent", columns)
    for eps, steps in world.scale.strengths:
        found = world.each(measures.strength, network=network, eps=eps, steps=steps)
        moved, enc, orig, mapped = (numbers(found, name) for name in ("moved", "enc", "orig", "orig + p"))
        cells = [mean(moved), mean(enc), mean(orig), spread(orig), mean(mapped), spread(mapped)]
        table.row(f"{eps:g}", str(steps), *cells)
        table.claim(f"eps {eps:g}, {steps} steps: Orig+P above Orig", minus(mapped, orig), ours=mapped)
    table.finish(world, "strength")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
