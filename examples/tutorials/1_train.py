"""
Train on disguised images
=========================

An ordinary PyTorch training loop on the Fashion-MNIST sample that comes with the package, and one line that disguises
every image. The classes are renamed as well; whoever holds the key renames the predictions back.

Run it with ``python examples/tutorials/1_train.py``; it reads nothing else and writes nothing.
"""

import argparse

import torch
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.transforms import v2

from torchprotect import data, keys, transforms
from torchprotect.demo import SAMPLE
from torchprotect.models import SmallAlexNet

# %%
# Plain images
# ------------
#
# 2,000 images with their class numbers; every fifth one is for testing.


def load_plain():
    source = data.open_source(SAMPLE)
    samples = [(tv_tensors.Image(source[i].image), source[i].label) for i in range(len(source))]
    return [s for i, s in enumerate(samples) if i % 5], [s for i, s in enumerate(samples) if i % 5 == 0]


# %%
# The one line
# ------------
#
# The disguise comes after everything that draws random crops or flips: cropping a disguised image would move its blocks
# away from the positions their keys belong to. ``Normalize`` comes after it, since a disguise takes 0..1 only.


def make_transforms(disguise):
    training = v2.Compose(
        [
            v2.RandomCrop(28, padding=2),
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            disguise,  # the one line
            v2.Normalize([0.2860], [0.3530]),
        ]
    )
    testing = v2.Compose(
        [
            v2.ToDtype(torch.float32, scale=True),
            disguise,  # a model trained on disguised images wants disguised images
            v2.Normalize([0.2860], [0.3530]),
        ]
    )
    return training, testing


# %%
# Training
# --------
#
# Nothing here knows about keys.


def train(model, loader, epochs):
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for images, labels in loader:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        print(f"epoch {epoch + 1}: loss {total / len(loader):.3f}")


@torch.no_grad()
def predict(model, loader):
    model.eval()
    return torch.cat([model(images).argmax(1) for images, _ in loader])


# %%
# All together
# ------------
#
# The test set keeps its plain labels, to compare the renamed-back predictions with.


def main():
    parser = argparse.ArgumentParser(description="Train a small network on disguised Fashion-MNIST images.")
    parser.add_argument("--epochs", type=int, default=2, help="passes over the training images")
    arguments = parser.parse_args()

    size = {"image_size": (28, 28), "block_size": (7, 7)}
    matrices, order = keys.RMTKey.generate(**size), keys.PermutationKey.generate(**size)
    label_key = keys.LabelKey.generate(classes=10)
    disguise = transforms.RMTDisguise(matrices, permutation=order, noise=25)

    plain_train, plain_test = load_plain()
    training, testing = make_transforms(disguise)
    train_set = data.ProtectedDataset(plain_train, training, labels=label_key)
    test_set = data.ProtectedDataset(plain_test, testing)

    model = SmallAlexNet(1, 10, (28, 28))
    train(model, DataLoader(train_set, batch_size=64, shuffle=True), arguments.epochs)
    renamed = predict(model, DataLoader(test_set, batch_size=256))
    predictions = label_key.unmap(renamed)  # needs the key: the model itself only knows renamed classes
    truth = torch.tensor([label for _, label in plain_test])
    print(f"right answers: {(predictions == truth).float().mean():.1%} renamed back by the key holder")
    print(f"               {(renamed == truth).float().mean():.1%} read without the label map")


if __name__ == "__main__":
    main()
