"""Table 1 of "Adversarial Data Encryption": networks trained on perturbed images, tested on perturbed and clean ones.

Enc is tested on images perturbed toward the target of what the base network takes them for, as the authors did; "Enc,
true labels" uses the labels. Orig is tested on clean images; for Orig+P every answer is replaced by its target. R+Orig
is trained on images that were each perturbed toward a random class, and tested on clean ones.

Usage: python adversarial/table1.py --source fashion-mnist:ROOT [--scale check|smoke|paper] [--out DIR]
"""

from adversarial_world import Table, accuracy, predictions, read_world

from torchprotect import keys

PAPER = {
    "densenet100bc": (94.70, 22.61, 32.00, 94.26),
    "preresnet110": (94.64, 20.67, 41.95, 93.26),
    "vgg19": (93.58, 28.77, 34.43, 92.17),
}


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    names = ["Enc", "Enc, true labels", "Orig", "Orig+P", "R+Orig", "clean"]
    papers = [f"paper: {name}" for name in ("Enc", "Orig", "Orig+P", "R+Orig")]
    table = Table("Table 1: accuracy in percent by training and test set", ["network", *names, *papers])
    target = keys.CorrespondenceKey.preset("basic").targets[:, 0]
    for network in world.scale.victims:
        victim = world.victim(network, "basic")
        answers = predictions(victim, world.test, world.device)
        enc = accuracy(victim, world.released_test("basic", "predicted"), world.device)
        true_enc = accuracy(victim, world.released_test("basic", "label"), world.device)
        orig = accuracy(victim, world.test, world.device)
        mapped = 100 * float((target[answers] == world.test.labels).float().mean())
        random = accuracy(world.victim(network, "basic", "random"), world.test, world.device)
        clean = accuracy(world.trained(f"clean {network}", network, world.train), world.test, world.device)
        table.row(network, enc, true_enc, orig, mapped, random, clean, *PAPER.get(network, (None,) * 4))
        table.direction(f"{network}: Enc far above Orig (by 30 points)", enc > orig + 30)
        table.direction(f"{network}: R+Orig within 10 points of clean", random > clean - 10)
        table.direction(f"{network}: Orig+P above Orig", mapped > orig)
    table.finish(world, "table1")


if __name__ == "__main__":
    main()
