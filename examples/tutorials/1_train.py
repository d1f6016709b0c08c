"""
Train on disguised photographs
==============================

You add one line to a torchvision pipeline, and a network learns from photographs that look like
noise. At the end you hold a key, a network that was trained on disguised images only, and the
plain class names of its predictions.

The 199 photographs come with the package: seven classes, sizes of about 128 x 96 pixels.
Everything here runs in a few seconds on one CPU core.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch.utils.data import DataLoader, Subset
from torchvision.datasets import ImageFolder
from torchvision.transforms import v2

from torchprotect import data, demo, keys, models, predict, training, transforms

torch.manual_seed(0)
folder = Path(tempfile.mkdtemp())  # or a folder of yours

# %%
# Make a key
# ----------
#
# :class:`~torchprotect.keys.RMTKey` multiplies each block of 8 x 8 pixels by a secret random
# matrix. :class:`~torchprotect.keys.PermutationKey` puts the blocks in a secret order, and
# :class:`~torchprotect.keys.LabelKey` renames the seven classes. A bundle keeps the three in one
# file. The numbers come from the operating system's entropy: there is no seed, so a lost key file
# cannot be made again.

size = {"image_size": (64, 64), "block_size": (8, 8)}
key = keys.KeyBundle(
    keys.RMTKey.generate(**size),
    permutation=keys.PermutationKey.generate(**size),
    labels=keys.LabelKey.generate(classes=7),
)
keys.save(key, folder / "photographs.key")
print(key)

# %%
# Add the disguise to the pipeline
# --------------------------------
#
# The disguise comes **after** random augmentation, since a crop or flip of a disguised image
# would move its blocks away from the positions that their matrices belong to. RMT also comes
# **after** ``ToDtype`` and **before** ``Normalize``, because it expects values in 0..1.

prepare = data.Preparation(exif=True, mode="rgb", resize=64, crop=(64, 64))
photographs = ImageFolder(demo.PHOTOGRAPHS, prepare)
to_float = v2.Compose([v2.ToImage(), v2.ToDtype(torch.float32, scale=True)])
disguise = transforms.from_key(key)

steps = v2.Compose(
    [
        v2.RandomHorizontalFlip(),
        to_float,
        disguise,  # the one line
        v2.Normalize([0.5] * 3, [0.25] * 3),
    ]
)

# %%
# These are the same photographs, before and after. RMT gives real numbers on both sides of 0..1;
# the lower row shows them stretched to what a screen can display.

shown = [10, 40, 75, 105, 135, 165]
figure, axes = plt.subplots(2, len(shown), figsize=(9, 3.2))
for column, index in zip(axes.T, shown, strict=True):
    photograph, label = photographs[index]
    hidden = disguise(to_float(photograph))
    column[0].imshow(photograph)
    column[0].set_title(photographs.classes[label], fontsize=9)
    column[1].imshow(((hidden - hidden.min()) / (hidden.max() - hidden.min())).permute(1, 2, 0))
for axis in axes.flat:
    axis.axis("off")
figure.tight_layout()

# %%
# Train
# -----
#
# :class:`~torchprotect.data.ProtectedDataset` applies the pipeline and renames the labels. From
# here on nothing depends on a key: :func:`torchprotect.training.fit` is a short training loop
# that comes with the package, and any other works as well. Every fifth photograph is left for
# testing.

test_indices = range(0, len(photographs), 5)
train_indices = [index for index in range(len(photographs)) if index % 5]
train_set = data.ProtectedDataset(Subset(photographs, train_indices), steps, labels=key.labels)

network = models.SmallAlexNet(channels=3, classes=7, image_size=(64, 64))
training.fit(network, DataLoader(train_set, batch_size=32, shuffle=True), epochs=20)

# %%
# Predict
# -------
#
# Whoever trains can save the network without having the key. The file states how pictures must be
# prepared and normalised, and the fingerprint of the key that they must be disguised with.

recipe = data.Recipe.of_disguise(disguise, key=key, preparation=prepare, scale=1)
predict.save(network, folder / "photographs.model", like=recipe, mean=0.5, std=0.25)

# %%
# The key holder loads it with the key. A predictor takes a plain photograph, prepares, disguises
# and normalises it, asks the network, and renames the answer back.

predictor = predict.Predictor.load(
    folder / "photographs.model",
    key=keys.load(folder / "photographs.key"),
    network=network,
    class_names=photographs.classes,
)
files = [photographs.samples[index][0] for index in test_indices]
truth = [photographs.classes[photographs.targets[index]] for index in test_indices]
answers = list(predictor.predict(files))
right = sum(answer.name == name for answer, name in zip(answers, truth, strict=True))
most_frequent = max(truth.count(name) for name in set(truth))
print(f"{right} of {len(files)} test photographs are named correctly")
print(f"always answering with the most frequent class: {most_frequent}")

# %%
# Without the label map, the network's own class numbers say little:

renamed = [int(answer.scores.argmax()) for answer in answers]
print([(key.labels.map(label), predictor.class_names[label]) for label in sorted(set(renamed))])

# %%
# 160 photographs are few. More images, more epochs and other networks do better; what a disguise
# costs at which settings is measured in :doc:`/guides/choose`.
#
# What this hides, and what it does not
# -------------------------------------
#
# The disguise is obfuscation. Whatever the network learns from, an attacker can learn from too:
# public photographs of the same kind are enough to rebuild much of what you see above, without
# the key and without a single known pair. :doc:`4_leaks` measures that in a few lines, and
# :doc:`/explain/threat-model` has the whole picture.
#
# From here: :doc:`2_export` writes shards that others can train on; :doc:`/guides/training` shows
# other training loops, and :doc:`/guides/lightning`, :doc:`/guides/timm` and
# :doc:`/guides/hugging-face` their frameworks.
