"""
Audit with an attack of your own
================================

An audit runs every ``attacks.Attack`` that it is given: a name, what the attack finds, what it needs, and a function of
what the attacker sees. The attack of this program guesses the class of a disguised image from its brightness alone,
which a block permutation does not change. It runs beside two attacks of the package, on the Fashion-MNIST sample that
comes with it.

Run ``python examples/audit_with_your_own_attack.py OUT``. It needs the extra ``audit``, takes about ten seconds of
processor time, writes a report into the new folder OUT, and prints the verdict.
"""

import argparse
from pathlib import Path

import torch

from torchprotect import attacks, audit, data, keys, transforms
from torchprotect.attacks import Attack, ClassGuesses, Level, Need, Seen, scores
from torchprotect.demo import SAMPLE

# %%
# The attack
# ----------
#
# ``Seen`` holds what an attacker of this level has, and nothing else. The result carries the level and the cost of the
# attack. ``score`` compares the result with the truth, which the attack never sees.


def guess_by_brightness(seen: Seen) -> ClassGuesses:
    public, labels = seen.need(Need.PUBLIC), seen.need(Need.LABELS)
    means = torch.stack([public[labels == label].float().mean() for label in range(seen.classes)])
    brightness = seen.disguised.float().mean((1, 2, 3))
    guesses = (brightness[:, None] - means).abs().argmin(1)
    return ClassGuesses(Level.PUBLIC_DATA, {"public": len(public)}, guesses)


BRIGHTNESS = Attack(
    name="brightness",
    title="Brightness",
    about="guesses the class from the mean of all pixels",
    finds="class",
    level=Level.PUBLIC_DATA,
    needs=frozenset({Need.PUBLIC, Need.LABELS}),
    run=guess_by_brightness,
    score=scores.CLASSES,
)

# %%
# The audit
# ---------
#
# Export the sample under a block permutation, audit it with three attacks, and print findings and verdict.


def main():
    parser = argparse.ArgumentParser(description="Audit a permutation of blocks with an attack of your own.")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--images", type=int, default=2000, help="images to read at most")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    shards, key = arguments.out / "shards", keys.PermutationKey.generate(image_size=(28, 28), block_size=(7, 7))
    data.export(data.open_source(SAMPLE), shards, transform=transforms.BlockPermute(key), key=key)
    ours = [attack for attack in attacks.ATTACKS if attack.name in ("jigsaw_attack", "linkage_attack")]
    report = audit.run(
        shards,
        plain=SAMPLE,
        key=key,
        attacks=[BRIGHTNESS, *ours],
        report=arguments.out / "report.html",
        fast=True,
        limit=arguments.images,
    )
    for finding in report.findings:
        print(f"{finding.level.value}  {finding.title}: {finding.headline.value:.1%} right")
    for level in report.verdict.levels:
        print(level)


if __name__ == "__main__":
    main()
