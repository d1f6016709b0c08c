"""
Audit an export
===============

Disguises the Fashion-MNIST sample that comes with the package, and asks what somebody without the key finds out: every
attack that applies, at every level of knowledge, in one report. A team's own tests can hold a bound on it.

Run it with ``python examples/tutorials/4_leaks.py OUT``; it writes the export, its key and ``report.html`` into OUT.
It needs the extra ``audit``: ``pip install ".[audit]"`` in a checkout.
"""

import argparse
from pathlib import Path

from torchprotect import audit, data, keys, transforms
from torchprotect.demo import SAMPLE

# %%
# Something to audit
# ------------------
#
# Blocks of 7 x 7 pixels, each multiplied by its own secret rotation after noise of up to 100 grey levels, then permuted
# in a secret order. The classes are renamed.


def make_export(folder):
    size = {"image_size": (28, 28), "block_size": (7, 7)}
    key = keys.KeyBundle(
        keys.RMTKey.generate(**size),
        permutation=keys.PermutationKey.generate(**size),
        labels=keys.LabelKey.generate(classes=10),
    )
    keys.save(key, folder / "rmt.key")
    data.export(data.open_source(SAMPLE), folder / "shards", transform=transforms.from_key(key, noise=100), key=key)
    return key


# %%
# The audit
# ---------
#
# The plain images and the key tell which disguised image is which; no attack gets the key. Half of the images are
# attacked. The plain images of the other half are what an attacker has from L1 on, and pairs of them are known at L2.


def run_audit(folder, key, images):
    return audit.run(
        folder / "shards",
        plain=SAMPLE,
        key=key,
        report=folder / "report.html",
        fast=True,
        limit=images,
        progress=lambda name, done, total: print(f"{done:2}/{total}  {name}"),
    )


# %%
# What came out
# -------------
#
# Leakage is 0 % where an attack does no better than somebody who has not seen the disguised images, 100 % where it does
# as well as on plain ones.


def show(report):
    for finding in report.findings:
        if finding.counted:
            top = finding.headline
            measured = f"{top.metric} {top.value:.1%} (chance {top.chance:.1%})"
            print(f"{finding.level.value}  {finding.leakage:6.1%}  {finding.attack}: {measured}")
    for level in report.verdict.levels:
        print(level)
    print(report.verdict.kept)


# %%
# A bound, as in a test
# ---------------------
#
# ``assert_leakage_below`` takes a report, its JSON, or an export. It fails with the list of what leaks, which it does
# here.


def hold_bound(folder):
    try:
        audit.assert_leakage_below(folder / "report.json", level="L2", value=0.2)
    except AssertionError as error:
        print(f"a bound of 20 % does not hold: {error}")


def main():
    parser = argparse.ArgumentParser(description="Audit a disguise of the Fashion-MNIST sample.")
    parser.add_argument("out", type=Path, help="new folder")
    parser.add_argument("--images", type=int, default=2000, help="images to look at")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    key = make_export(arguments.out)
    show(run_audit(arguments.out, key, arguments.images))
    hold_bound(arguments.out)


if __name__ == "__main__":
    main()
