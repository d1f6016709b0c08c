"""
Export disguise and network as one program
==========================================

The owner of a key deploys a model that was trained on disguised images. ``torch.export`` writes one file that takes
plain images, disguises them and classifies them. **The file contains the key.** Whoever has it can disguise images and
undo the disguise, so give it only to people who may have the key.

Run ``python examples/export_the_owner_program.py OUT``. It takes about ten seconds of processor time and writes two
files into the new folder OUT.
"""

import argparse
from pathlib import Path

import torch

from torchprotect import data, keys, ops, training, transforms
from torchprotect.demo import SAMPLE
from torchprotect.models import SmallAlexNet

# %%
# A network for disguised images
# ------------------------------
#
# It is trained on 1,600 disguised images of Fashion-MNIST. The key is not part of this network.


def load_plain():
    source = data.open_source(SAMPLE)
    samples = [source[i] for i in range(len(source))]
    images = torch.stack([sample.image for sample in samples]).float() / 255
    labels = torch.tensor([sample.label for sample in samples])
    return (images[:1600], labels[:1600]), (images[1600:], labels[1600:])


def train(disguise, images, labels, epochs):
    torch.manual_seed(0)
    network = SmallAlexNet(1, 10, (28, 28))
    training.fit(network, (disguise(images), labels), epochs=epochs)
    return network.eval()


# %%
# The owner's program
# -------------------
#
# A disguise is a module, so a ``Sequential`` joins disguise and network. The program takes batches of any size; the key
# fixes the size of the images. ``torch.export`` asks for an example image and writes it into the file: give it zeros,
# not a picture. Like a key file, the file can be read by its owner only.


def export_program(disguise, network, path):
    program = torch.export.export(
        torch.nn.Sequential(disguise, network),
        (torch.zeros(2, 1, 28, 28),),
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )
    save(program, path)
    return program


def save(program, path):
    path.touch(mode=0o600)
    torch.export.save(program, path)


# %%
# A program without this package
# ------------------------------
#
# To load the first file, import ``torchprotect.ops``, which registers the operators of the disguise. A program in which
# plain PyTorch replaces these operators runs without torchprotect. It contains the key as well.


def export_plain_pytorch(program, path):
    plain = program.run_decompositions(ops.decompositions())
    save(plain, path)
    return plain


def contains(program, secret):
    return any(torch.equal(secret, constant) for constant in program.constants.values())


def main():
    parser = argparse.ArgumentParser(description="Export a disguise and a network as one program.")
    parser.add_argument("out", type=Path, help="new folder to write to")
    parser.add_argument("--epochs", type=int, default=2, help="passes over the training images")
    arguments = parser.parse_args()
    arguments.out.mkdir()

    key = keys.PermutationKey.generate(image_size=(28, 28), block_size=(7, 7))
    disguise = transforms.BlockPermute(key)
    (train_images, train_labels), (images, labels) = load_plain()
    network = train(disguise, train_images, train_labels, arguments.epochs)

    path = arguments.out / "owner.pt2"
    program = export_program(disguise, network, path)
    run = torch.export.load(path).module()
    with torch.no_grad():
        scores = run(images)
        print(f"plain images into {path.name}: {(scores.argmax(1) == labels).float().mean():.1%} right answers")
        print(f"the same scores as disguise and network apart: {torch.equal(scores, network(disguise(images)))}")

        plain = export_plain_pytorch(program, arguments.out / "owner-plain.pt2")
        print(f"the same scores in plain PyTorch: {torch.allclose(plain.module()(images), scores, atol=1e-5)}")
    print(f"both files contain the key, readable: {contains(program, key.order) and contains(plain, key.order)}")
    print("whoever has one of them can disguise images and undo the disguise: keep them where the key may be")


if __name__ == "__main__":
    main()
