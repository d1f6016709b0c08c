"""Table 8 of "Adversarial Data Encryption": both targets of each class recovered by trying all ordered pairs.

The attacker knows that every class has two targets, set side by side half and half.

Usage: python adversarial/table8.py --source fashion-mnist:ROOT [--scale check|smoke|paper] [--out DIR]
"""

from adversarial_world import Table, as_floats, read_world

from torchprotect import attacks, keys

PAPER = (41.31, 32.52)  # highest and lowest of the 18 pairs that the paper shows for class 0
PLAN = "horizontal-concat"


def main() -> None:
    """Make the table."""
    world = read_world(__doc__)
    network = world.scale.victims[0]
    images, labels = as_floats(world.test)
    result = attacks.recover_correspondence(
        world.victim(network, PLAN),
        world.surrogate,
        images,
        labels,
        classes=world.classes,
        settings=world.settings,
        targets=2,
    )
    truth = keys.CorrespondenceKey.preset(PLAN).targets
    score = attacks.score_correspondence(result, truth)
    scores = 100 * result.scores[0]
    right = int(truth[0, 0]) * world.classes + int(truth[0, 1])
    place = 1 + result.ranking[0].tolist().index(right)
    table = Table(f"Table 8: accuracy of {network} with class 0 led to pairs, percent", ["", "ours", "paper"])
    table.row("best pair", float(scores.max()), PAPER[0])
    table.row("worst pair", float(scores.min()), PAPER[1])
    table.row(
        f"the true pair ({truth[0, 0]}, {truth[0, 1]}), place {place} of {len(scores)}", float(scores[right]), None
    )
    table.row(f"pairs found in any order, of {world.classes} classes", int(score.unordered.sum()), None)
    table.row(f"targets found, of {2 * world.classes}", int(score.hits.sum()), None)
    table.row(f"trials: {result.cost}", result.cost["trials"], 1000)
    table.direction("the true pair is among the best five of class 0", place <= 5)
    table.direction("more classes found, in any order, than by chance", int(score.unordered.sum()) > 1)
    table.finish(world, "table8")


if __name__ == "__main__":
    main()
