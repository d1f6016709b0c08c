"""
Use a cloud without showing it the images
=========================================

An organisation has images that a classifier run by somebody else, the cloud, is to help with. It sends scrambled ones:
an embedding of each image, run through a random network that is the key. A small network inside reads the cloud's
answer together with the embedding. Here the cloud is a network in the same process, and the images are the
Fashion-MNIST sample that comes with the package.

The output says what each part is worth, and what an attacker gets who knows some of the images. Run it with ``python
examples/tutorials/3_cloud.py``; it takes half a minute and leaves nothing behind.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import nn

from torchprotect import attacks, data, functional, keys, owsd, training
from torchprotect.demo import SAMPLE

# %%
# A cloud and an encoder
# ----------------------
#
# Usually both are networks that others have trained on public images, such as ImageNet's: never the same one. Here each
# is trained on images of its own. An encoder takes images in 0..1 and returns embeddings; a cloud is any callable that
# takes uint8 images ``[N, 3, H, W]`` and returns vectors.


def network(width, outputs):
    return nn.Sequential(
        *(nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.AdaptiveAvgPool2d(4)),
        *(nn.Flatten(), nn.Linear(32 * width, outputs)),
    )


class Grey(nn.Module):
    def __init__(self, classifier):
        super().__init__()
        self.classifier = classifier

    def forward(self, images):
        return self.classifier(images.mean(1, keepdim=True))


def train(model, images, labels, epochs):
    return training.fit(model, (images / 255, labels), epochs=epochs)


def load(source):
    samples = [source[i] for i in range(len(source))]
    return torch.stack([sample.image for sample in samples]), torch.tensor([sample.label for sample in samples])


def make_networks(public, cloud_images, epochs):
    encoder = train(network(8, 10), *public, epochs)[:-1].eval()  # without its last layer: 256 numbers an image
    return encoder, owsd.ModelCloud(Grey(train(network(8, 10), *cloud_images, epochs)), size=(28, 28))


@torch.no_grad()
def embed(encoder, images):
    return encoder(images / 255)


# %%
# Ask, learn to read the answers, try
# -----------------------------------
#
# The client embeds, scrambles, counts in the ledger, asks, and keeps the answers. The ledger stops at a bound, so that
# a key does not go on for ever; a new key means asking about the training images again.


def use(client, images, labels, test):
    client.fit(images[~test], labels[~test], classes=10)
    print(f"right labels of {client.evaluate(images[test], labels[test])}")


# %%
# What an attacker gets
# ---------------------
#
# Whoever knows some plain images and sees what they became, and has the encoder, which is often public, looks for the
# plain images behind further scrambled ones.


def link(embeddings, key, test, pairs):
    scrambled = functional.owsd_scramble(embeddings, key)
    known, seen = embeddings[~test][:pairs], scrambled[~test][:pairs]
    found = attacks.ridge_reidentification(known, seen, scrambled[test], embeddings[test])
    return attacks.score_linkage(found, torch.arange(int(test.sum())))


# %%
# All together
# ------------
#
# Three fifths of the images are the organisation's, and every fourth of these is for testing.


def main():
    parser = argparse.ArgumentParser(description="Use a cloud classifier for Fashion-MNIST without showing it images.")
    parser.add_argument("--epochs", type=int, default=4, help="passes that train encoder and cloud")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # more threads gain nothing in so small networks
    torch.manual_seed(0)
    images, labels = load(data.open_source(SAMPLE))
    fifth = torch.arange(len(images)) % 5
    public, cloud_images, ours = ((images[part], labels[part]) for part in (fifth == 0, fifth == 1, fifth > 1))
    encoder, cloud = make_networks(public, cloud_images, arguments.epochs)

    calibration = embed(encoder, public[0])
    key = keys.OWSDKey.generate(embedding_size=256, image_size=(32, 32), width=8, embeddings=calibration)
    test = torch.arange(len(ours[0])) % 4 == 0
    with tempfile.TemporaryDirectory() as folder:
        ledger = owsd.Ledger(Path(folder) / "use.ledger")
        answers = owsd.AnswerCache(Path(folder) / "answers.cache")
        client = owsd.Client(encoder, key, cloud, ledger=ledger, answers=answers, name="trained here")
        use(client, *ours, test)
        sent = ledger.use(key.fingerprint)
        print(f"{sent.used:,} scrambled images sent under this key, of {sent.bound:,}; no plain ones")
    for pairs in (30, 100, 300):
        score = link(embed(encoder, ours[0]), key, test, pairs)
        print(
            f"linked to plain images by who knows {pairs} pairs: {score.shares[0]:.1%} (chance {score.chance[0]:.1%})"
        )


if __name__ == "__main__":
    main()
