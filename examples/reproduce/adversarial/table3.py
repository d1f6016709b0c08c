"""Table 3 of "Adversarial Data Encryption": the map of classes recovered by trying, and by two readings in one pass.

The attacker has a network trained on the released images (the victim) and one trained on clean images of its own (the
surrogate). For each class and each candidate target it perturbs its images of that class and keeps the candidate with
which the victim is right most often. The readings need no trials: the victim's mistakes on clean images, and the
surrogate's mistakes on released ones.

Usage: python adversarial/table3.py --source fashion-mnist:ROOT [--scale check|smoke|paper] [--out DIR]
"""

from adversarial_world import Table, as_floats, read_world

from torchprotect import attacks, keys

PAPER = (22.61, 22.15, 22.10, 22.11, 22.21, 22.17, 22.24, 22.22, 31.49, 22.30)  # for class 0
PLAN = "basic"


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    network = world.scale.victims[0]
    victim, surrogate = world.victim(network, PLAN), world.surrogate
    images, labels = as_floats(world.test)
    truth = keys.CorrespondenceKey.preset(PLAN).targets
    tried = attacks.recover_correspondence(
        victim, surrogate, images, labels, classes=world.classes, settings=world.settings
    )
    found = [
        ("enumeration", tried),
        (
            "the victim's mistakes on clean images",
            attacks.read_correspondence_from_victim(victim, images, labels, classes=world.classes),
        ),
        (
            "the surrogate's mistakes on released images",
            attacks.read_correspondence_from_data(surrogate, *as_floats(world.released(PLAN)), classes=world.classes),
        ),
    ]
    table = Table(f"Table 3: accuracy of {network} with class 0 led to each target, percent", ["0 to", "ours", "paper"])
    scores = (100 * tried.scores[0]).tolist()
    for candidate, (ours, paper) in enumerate(zip(scores, PAPER, strict=True)):
        table.row("0 (clean)" if candidate == 0 else str(candidate), ours, paper)
    target = int(truth[0, 0])
    wrong = [score for candidate, score in enumerate(scores) if candidate != target]
    table.direction(f"the true target, {target}, is the only maximum", scores[target] > max(wrong))
    for name, result in found:
        hits = int(attacks.score_correspondence(result, truth).ordered.sum())
        table.row(f"classes found by {name}, of {world.classes}; cost {result.cost}", hits, None)
    table.finish(world, "table3")


if __name__ == "__main__":
    main()
