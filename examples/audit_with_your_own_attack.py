"""
Audit with an attack of your own
================================

An audit runs any attack that is one ``attacks.Attack``: what it is called, what it finds and needs, and a function of
what the attacker sees. This one guesses the class of a disguised image from its brightness alone, which a permutation
of blocks leaves as it is; it runs beside two of ours.

Run it with ``python examples/audit_with_your_own_attack.py OUT``; it writes the report into OUT and prints its verdict.
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
# ``Seen`` holds what the attacker has at the level of the attack, and nothing else. The result says at which level and
# cost it was found; ``score`` compares it with the truth, which the attack never sees.


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


def main():
    parser = argparse.ArgumentParser(description="Audit a permutation of blocks with an attack of your own.")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--images", type=int, default=2000, help="images to look at")
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
