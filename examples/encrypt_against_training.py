"""
Perturb images against training
===============================

Perturbs the Fashion-MNIST sample that comes with the package. People still recognise the images, but an ordinary
network learns little from them about plain images: each image is moved a little toward a secret class, and the network
learns the perturbation in place of the class. The last line of the output shows how little that may be worth: after
JPEG compression a network learns much more again.

Run ``python examples/encrypt_against_training.py``. It takes about ten seconds of processor time and leaves nothing
behind.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import nn
from torchvision.transforms import v2

from torchprotect import data, keys, training, transforms
from torchprotect.demo import SAMPLE

# %%
# A base network
# --------------
#
# The owner of the images trains a network, with which the perturbation is computed. It takes pixels in 0..1, so
# normalisation belongs inside it.


class SmallNetwork(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * width * 49, 10),
        )

    def forward(self, images):
        return self.layers((images - 0.286) / 0.353)


def load(source):
    samples = [source[i] for i in range(len(source))]
    return torch.stack([sample.image for sample in samples]), torch.tensor([sample.label for sample in samples])


def train(images, labels, epochs):
    torch.manual_seed(0)
    return training.fit(SmallNetwork(), (images / 255, labels), epochs=epochs)


# %%
# Perturb, train, test
# --------------------
#
# Perturb a data set in an export: it runs in batches, can be resumed and has a manifest. A smaller ``eps`` is less
# visible but misleads models less: with 0.5 they learn nearly as well as from plain images.


def main():
    parser = argparse.ArgumentParser(description="Perturb Fashion-MNIST images so that models trained on them fail.")
    parser.add_argument("--eps", type=float, default=2.0, help="largest distance of an image: L2, in pixels of 0..1")
    parser.add_argument("--steps", type=int, default=10, help="steps of the search")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the training images")
    arguments = parser.parse_args()

    torch.set_num_threads(1)  # more threads gain nothing in so small a network
    images, labels = load(data.open_source(SAMPLE))
    test = torch.arange(len(images)) % 5 == 0
    plain_test = (images[test] / 255, labels[test])
    base = train(images[~test], labels[~test], arguments.epochs)

    key = keys.CorrespondenceKey.generate(classes=10)  # the secret: toward which class each class is led
    perturb = transforms.AdversarialEncrypt(
        base, key, eps=arguments.eps, step_size=arguments.eps / 5, steps=arguments.steps
    )
    with tempfile.TemporaryDirectory() as folder:
        plain = list(zip(images[~test], labels[~test].tolist(), strict=True))
        result = data.export(plain, Path(folder) / "shards", transform=perturb)
        shards = list(data.read(result.location))
    print(
        f"{result.images:,} images, distances {result.mean_distance:.2f} on average, {result.max_distance:.2f} at most"
    )

    released, classes = torch.stack([image for image, _ in shards]), torch.tensor([label for _, label in shards])
    squeezed = torch.stack([v2.functional.jpeg(image, 10) for image in released])
    learned = {
        "plain images": base,
        "perturbed images": train(released, classes, arguments.epochs),
        "the same after JPEG": train(squeezed, classes, arguments.epochs),
    }
    print("right answers on plain test images, trained on")
    for name, model in learned.items():
        print(f"  {name + ':':<22}{training.evaluate(model, plain_test):.1%}")


if __name__ == "__main__":
    main()
