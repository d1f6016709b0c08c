"""
From a folder of photographs to shards, and back
================================================

Exports the photographs that come with the package, of 57 sizes, as a training and a test set under one key; gives the
pictures back to whoever has it; disguises another picture like them; and replaces the key.

Run it with ``python examples/tutorials/2_export.py OUT``.
"""

import argparse
from pathlib import Path

import PIL.Image
from torch.utils.data import Subset
from torchvision.transforms.v2.functional import pil_to_tensor

from torchprotect import data, keys, transforms
from torchprotect.demo import PHOTOGRAPHS

# %%
# Preparation
# -----------
#
# Pictures of any size and mode become images of one shape. Plan and manifest of an export state the steps, so that
# others can repeat them.

PREPARATION = data.Preparation(exif=True, mode="rgb", resize=72, crop=(64, 64))


def make_key():
    size = {"image_size": (64, 64), "block_size": (8, 8)}
    return keys.KeyBundle(
        keys.RMTKey.generate(**size), keys.PermutationKey.generate(**size), keys.LabelKey.generate(classes=7)
    )


# %%
# Two splits under one key
# ------------------------
#
# Both have the same disguise, and neither order, ids nor noise in common. ``export_splits`` checks that no picture is
# in both.


def export(out, key):
    source = data.open_source(PHOTOGRAPHS)
    test = range(0, len(source), 5)
    train = [index for index in range(len(source)) if index not in test]
    return data.export_splits(
        {"train": Subset(source, train), "test": Subset(source, test)},
        out,
        transform=transforms.from_key(key, noise=25.0),
        key=key,
        prepare=PREPARATION,
    )


# %%
# The way back
# ------------
#
# The key tells the noise too, so every pixel is as it was. The id of a sample is a keyed digest of its pixels: by it,
# ``restore`` counts the exact ones.


def restore(out, key, folder):
    result = data.restore(out, folder, key=key)
    print(f"{result.exact} of {result.images} restored to the pixel")


# %%
# A picture that comes later
# --------------------------
#
# A model that was trained on the export is fed pictures prepared and disguised in the same way.


def disguise_another(out, key):
    disguiser = data.Disguiser(out, key=key)
    path = next(Path(PHOTOGRAPHS).rglob("*.jpg"))
    image = disguiser(path)
    undone = transforms.from_key(key, inverse=True)(image) - pil_to_tensor(PREPARATION(PIL.Image.open(path)))
    print(
        f"a further picture: {list(image.shape)}, with noise of {float(undone.min()):.0f} to {float(undone.max()):.0f}"
    )


# %%
# The key has leaked
# ------------------
#
# The export is written again under another key, without its source.


def replace_key(out, key, again):
    new = make_key()
    data.rekey(out, again, key=key, new_key=new)
    print(f"under a new key: {data.verify(again, new).images} images")


def main(out):
    key = make_key()
    for name, result in export(out / "protected", key).items():
        print(f"{name}: {result.images} images, {result.size / 1e6:.1f} MB")
    both = [out / "protected" / "train", out / "protected" / "test"]
    print(f"together: {sum(1 for _ in data.read(both))} images")
    restore(both[0], key, out / "back")
    disguise_another(both[0], key)
    replace_key(both[0], key, out / "again")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="new folder to write to")
    main(parser.parse_args().out)
