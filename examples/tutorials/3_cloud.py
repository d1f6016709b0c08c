"""
Use a cloud classifier
======================

A classifier that somebody else runs, the cloud, answers for your images without being shown them.
You scramble an embedding of each image, send that, and train a small network to read the answers.
Then you measure two things that decide whether to do it at all: what the cloud adds, and what the
scrambled images give away.

.. image:: ../images/owsd.svg
    :alt: What stays inside the organisation, and what leaves it: scrambled images only

The scheme is *One Way Scrambling by Deconvolution* (OWSD). It is obfuscation: section `What an
attacker finds`_ has numbers.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch
from torch import nn

from torchprotect import attacks, data, demo, functional, keys, owsd, training

torch.manual_seed(0)
folder = Path(tempfile.mkdtemp())  # or a folder of yours

# %%
# An encoder and a cloud
# ----------------------
#
# An *encoder* runs on your side and turns an image into a vector, its embedding. Usually it is a
# public network without its last layer. The cloud is any callable that takes uint8 images
# ``[N, 3, H, W]`` and returns vectors. The two must not be the same network. To keep this page
# small, both are trained here, each on a fifth of the bundled Fashion-MNIST images.

source = data.open_source(demo.SAMPLE)
images = torch.stack([source[index].image for index in range(len(source))])
labels = torch.tensor([source[index].label for index in range(len(source))])
fifth = torch.arange(len(images)) % 5


def train_network(chosen):
    network = nn.Sequential(
        *(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.AdaptiveAvgPool2d(4)),
        *(nn.Flatten(), nn.Linear(256, 10)),
    )
    return training.fit(network, (images[chosen] / 255, labels[chosen]), epochs=4)


class Grey(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network(images.mean(1, keepdim=True))


encoder = train_network(fifth == 0)[:-1].eval()  # without the last layer: 256 numbers an image
cloud = owsd.ModelCloud(Grey(train_network(fifth == 1)), size=(28, 28))

# %%
# A key is a random network
# -------------------------
#
# :class:`~torchprotect.keys.OWSDKey` holds the weights of a random generator, drawn from the
# operating system's entropy. It turns an embedding into an image. Embeddings of some public
# images set its batch-norm statistics.

with torch.no_grad():
    public = encoder(images[fifth == 0] / 255)
key = keys.OWSDKey.generate(embedding_size=256, image_size=(32, 32), width=8, embeddings=public)

ours, our_labels = images[fifth > 1], labels[fifth > 1]
with torch.no_grad():
    embeddings = encoder(ours / 255)
scrambled = functional.owsd_scramble(embeddings, key)

figure, axes = plt.subplots(2, 8, figsize=(8, 2.3))
for column, plain, sent in zip(axes.T, ours, scrambled, strict=False):
    column[0].imshow(plain[0], cmap="gray")
    column[1].imshow(sent.permute(1, 2, 0))
for axis in axes.flat:
    axis.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("plain")
axes[1, 0].set_ylabel("sent")
figure.tight_layout()

# %%
# Ask the cloud, and learn to read its answers
# --------------------------------------------
#
# :class:`~torchprotect.owsd.Client` embeds, scrambles, counts what it sends in a ledger, asks,
# and keeps the answers. ``fit`` trains the *inference network*, which reads the answer together
# with the embedding. Every fourth image is left for testing.

test = torch.arange(len(ours)) % 4 == 0
client = owsd.Client(
    encoder,
    key,
    cloud,
    ledger=owsd.Ledger(folder / "use.ledger"),
    answers=owsd.AnswerCache(folder / "answers.cache"),
    name="a network in this process",
)
client.fit(ours[~test], our_labels[~test], classes=10)
print(client.evaluate(ours[test], our_labels[test]))

# %%
# Compare the lines. If *embedding only* is as good as *embedding and cloud*, a classifier on your
# own embeddings does the same without sending anything. In :doc:`our measurements </guides/owsd>`
# it was.
#
# The ledger stops at a bound, so that a key is not used for ever:

use = client.ledger.use(key.fingerprint)
print(f"{use.used:,} scrambled images sent under this key, of {use.bound:,}; no plain ones")

# %%
# What an attacker finds
# ----------------------
#
# Suppose an attacker knows the plain images behind some scrambled ones (level L2) and has the
# encoder, which is often public. The attack looks for the plain images behind further scrambled
# ones, among the 300 test images here.

pairs, shares = [10, 30, 100, 300], []
for count in pairs:
    found = attacks.ridge_reidentification(
        embeddings[~test][:count], scrambled[~test][:count], scrambled[test], embeddings[test]
    )
    score = attacks.score_linkage(found, torch.arange(int(test.sum())))
    shares.append(100 * float(score.shares[0]))

figure, axes = plt.subplots(figsize=(6, 3))
axes.plot(pairs, shares, "o-", label="right at the first guess")
axes.axhline(100 * float(score.chance[0]), color="gray", linestyle="--", label="chance")
axes.set(xscale="log", xlabel="known pairs", ylabel="images linked, percent", ylim=(0, 100))
axes.set_xticks(pairs, [str(count) for count in pairs])
axes.legend()
figure.tight_layout()

# %%
# So the pictures above mean nothing to people, and yet a hundred known pairs can be enough to
# tell which image is which. :doc:`/guides/owsd` is the guide with real networks and clouds,
# :doc:`/guides/owsd-cloud` has servers, errors and rotation of keys, and
# :doc:`/explain/attacks-owsd` every attack that was tried.
