"""Table 7 of "Adversarial Data Encryption": combined perturbations, Horizontal Concat and Mixup And Concat.

Enc is tested on images perturbed toward the targets of what the base network takes them for, Orig on clean images. The
last columns repeat Orig under the basic plan with one target (Table 1): combining makes the map harder to find and the
protection weaker.

Usage: python adversarial/table7.py --source fashion-mnist:ROOT [--scale check|smoke|paper] [--out DIR]
"""

from adversarial_world import Table, accuracy, read_world

PAPER = {
    "densenet100bc": (94.62, 29.69, 94.45, 32.92, 22.61),
    "preresnet110": (94.49, 32.65, 94.03, 37.21, 20.67),
    "vgg19": (94.30, 48.13, 93.06, 55.00, 28.77),
}


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    columns = ["concat Enc", "concat Orig", "mixup and concat Enc", "mixup and concat Orig", "basic Orig"]
    table = Table("Table 7: accuracy in percent", ["network", *columns, *(f"paper: {name}" for name in columns)])
    for network in world.scale.victims:
        numbers = []
        for plan in ("horizontal-concat", "mixup-and-concat"):
            victim = world.victim(network, plan)
            numbers += [
                accuracy(victim, world.released_test(plan, "predicted"), world.device),
                accuracy(victim, world.test, world.device),
            ]
        basic = accuracy(world.victim(network, "basic"), world.test, world.device)
        table.row(network, *numbers, basic, *PAPER.get(network, (None,) * 5))
        for name, enc, orig in (("concat", *numbers[:2]), ("mixup and concat", *numbers[2:])):
            table.direction(f"{network}, {name}: Enc far above Orig (by 30 points)", enc > orig + 30)
            table.direction(f"{network}, {name}: Orig at least that of the basic plan", orig >= basic)
    table.finish(world, "table7")


if __name__ == "__main__":
    main()
