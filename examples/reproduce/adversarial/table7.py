"""Table 7 of "Adversarial Data Encryption": combined perturbations, Horizontal Concat and Mixup And Concat.

Enc is tested on images perturbed toward the targets of what the base network takes them for, Orig on clean images. The
last columns repeat Orig under the basic plan with one target (Table 1): combining makes the map harder to find and the
protection weaker.

Usage: python adversarial/table7.py --source cifar10:ROOT [--scale check|smoke|full|paper] [--out DIR]
"""

import adversarial_measures as measures
from adversarial_world import Table, World, mean, minus, numbers, read_world

PAPER = {
    "densenet100bc": (94.62, 29.69, 94.45, 32.92, 22.61),
    "preresnet110": (94.49, 32.65, 94.03, 37.21, 20.67),
    "vgg19": (94.30, 48.13, 93.06, 55.00, 28.77),
}
PLANS = {"horizontal-concat": "concat", "mixup-and-concat": "mixup and concat"}


def tables(world: World) -> None:
    """Make the table."""
    columns = ["concat Enc", "concat Orig", "mixup and concat Enc", "mixup and concat Orig", "basic Orig"]
    table = Table("Table 7: accuracy in percent", ["network", *columns, *(f"paper: {name}" for name in columns)])
    for plan in PLANS:
        world.moved(table, plan)
    for network in world.scale.compared:
        found = {plan: world.each(measures.victim, network=network, plan=plan) for plan in ("basic", *PLANS)}
        basic = numbers(found["basic"], "orig")
        cells = [mean(numbers(found[plan], what)) for plan in PLANS for what in ("enc", "orig")]
        table.row(network, *cells, mean(basic), *PAPER.get(network, (None,) * 5))
        for plan, name in PLANS.items():
            enc, orig = numbers(found[plan], "enc"), numbers(found[plan], "orig")
            table.claim(
                f"{network}, {name}: Enc above Orig by 30 points", minus(enc, orig, 30), ours=enc, paper="93 to 95"
            )
            table.claim(
                f"{network}, {name}: Orig at least that of the basic plan",
                minus(orig, basic),
                ours=orig,
                paper="higher by 7 to 26",
            )
    table.finish(world, "table7")


if __name__ == "__main__":
    read_world(__doc__).run(tables)
