"""
Measure what leaks
==================

You export images with a disguise, run every attack that applies to it, and read the result: how
much an attacker recovers at each level of knowledge. Then you run one attack by hand and look at
the pictures that it rebuilds, and turn the measurement into a test that fails.

It needs the extra ``audit``: ``pip install ".[audit]"`` in a checkout.
"""

import tempfile
import warnings
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from matplotlib.patches import Patch

from torchprotect import attacks, audit, data, demo, errors, keys, transforms

torch.manual_seed(0)
folder = Path(tempfile.mkdtemp())  # or a folder of yours

# %%
# Something to audit
# ------------------
#
# 2,000 images of Fashion-MNIST come with the package. RMT adds noise of up to 100 grey levels,
# multiplies each block of 7 x 7 pixels by a secret matrix, and puts the blocks in a secret order.

size = {"image_size": (28, 28), "block_size": (7, 7)}
key = keys.KeyBundle(
    keys.RMTKey.generate(**size),
    permutation=keys.PermutationKey.generate(**size),
    labels=keys.LabelKey.generate(classes=10),
)
source = data.open_source(demo.SAMPLE)
data.export(source, folder / "protected", transform=transforms.from_key(key, noise=100), key=key)

# %%
# The audit
# ---------
#
# The audit attacks half of the images. It gives the plain images of the other half to attackers
# from level L1 on, as public images of the same kind, and lets an attacker at L2 know which
# disguised image belongs to which of them. The key only pairs plain with disguised images, to
# compute scores; no attack sees it. ``fast=True`` and ``limit`` keep this page quick.

report = audit.run(
    folder / "protected",
    plain=demo.SAMPLE,
    key=key,
    report=folder / "report.html",
    fast=True,
    limit=600,
)
print(report.verdict.kept)
for level in report.verdict.levels:
    print(level)

# %%
# Leakage is 0 % where an attack does no better than somebody who has not seen the disguised
# images, and 100 % where it does as well as on plain images. One bar for each attack:

colors = {"L0": "#4c78a8", "L1": "#f58518", "L2": "#e45756", "L3": "#b279a2", "L4": "#72b7b2"}
findings = sorted((each for each in report.findings if each.counted), key=lambda each: each.leakage)
figure, axes = plt.subplots(figsize=(7, 0.28 * len(findings) + 1))
axes.barh(
    [each.attack for each in findings],
    [100 * each.leakage for each in findings],
    color=[colors[each.level.value] for each in findings],
)
axes.set_xlabel("leakage, percent")
levels = sorted({each.level.value for each in findings})
patches = [Patch(color=colors[level]) for level in levels]
axes.legend(patches, levels, title="attacker's level", loc="lower right")
figure.tight_layout()

# %%
# ``report.html`` has the same with pictures, intervals, and what each attack was given.
# :doc:`/explain/threat-model` defines the levels.
#
# One attack by hand
# ------------------
#
# :func:`~torchprotect.attacks.match_moments` needs other images of the same kind and nothing
# else: no key, and no pair of a plain and a disguised image. It compares means and covariances of
# blocks of public images with those of disguised ones.

images = torch.stack([source[index].image for index in range(len(source))])
public, secret = images[:1000], images[1000:]
disguise = transforms.from_key(key, noise=100)
with warnings.catch_warnings():
    warnings.simplefilter("ignore", errors.PixelScaleWarning)  # images stay on the scale of 0..255
    disguised = disguise(secret)
found = attacks.match_moments(public, disguised, scheme=attacks.Scheme.of(disguise.describe()))
rebuilt = found.images.clamp(0, 255)

distance = (rebuilt.float() - secret).square().mean((1, 2, 3)).sqrt()
order = distance.argsort()
chosen = order[torch.linspace(0, len(order) - 1, 5).long()].tolist()
# sphinx_gallery_thumbnail_number = 2
figure, axes = plt.subplots(3, len(chosen), figsize=(7.5, 4.5))
for column, index in zip(axes.T, chosen, strict=True):
    for axis, row in zip(column, (secret, disguised, rebuilt), strict=True):
        axis.imshow(row[index, 0], cmap="gray", vmin=0, vmax=255)
        axis.set(xticks=[], yticks=[])
for axis, title in zip(axes[0, ::2], ["best", "median", "worst"], strict=True):
    axis.set_title(title)
for axis, name in zip(axes[:, 0], ["plain", "disguised", "rebuilt"], strict=True):
    axis.set_ylabel(name)
figure.tight_layout()

# %%
# A bound, as a test
# ------------------
#
# :func:`~torchprotect.audit.assert_leakage_below` takes a report, its JSON file, or an export.
# Put it into a test of your release: here it fails, as it should.

try:
    audit.assert_leakage_below(folder / "report.json", level="L1", value=0.2)
except AssertionError as error:
    print(error)

# %%
# The same on the command line, where the exit code is 3 if more leaks:
#
# .. code-block:: console
#
#     $ torchprotect audit protected/ --plain photos/ --key my.key --report report.html \
#           --max-leakage L1=0.2
#
# What to do about it
# -------------------
#
# Other settings leak less, and other images leak less under the same settings: ``torchprotect
# compare photos/`` charts what a network keeps under each setting against what attacks find, see
# :doc:`/guides/choose`. No setting that leaves a network something to learn leaves an attacker
# nothing. :doc:`/guides/ci-gate` has the gate for a release pipeline, and :doc:`/guides/audit`
# the rest about audits, including attacks of your own.
