"""
Export CIFAR-10 with an RMT disguise
====================================

Makes a key, writes disguised WebDataset shards, verifies them and reads one batch back. Run one of::

    python examples/export_cifar10.py cifar10:data cifar10-disguised --workers 2
    python examples/export_cifar10.py "train-{000000..000020}.tar" cifar10-disguised

The first line reads the files that torchvision keeps in ``data``. The second one reads WebDataset shards with ``.png``
and ``.cls`` members. CIFAR-10 does not come with the package. The 50,000 training images take about twenty seconds of
processor time and give 717 MB of shards.

The key is written beside the output folder, as ``OUT.key``. After an interruption run the same line again: the program
finds the key, and the export continues where it stopped.
"""

import argparse
import sys
from pathlib import Path

from torch.utils.data import DataLoader

from torchprotect import data, errors, keys, transforms

# %%
# A key for 32 x 32 images
# ------------------------
#
# The key has one matrix for each block of 8 x 8 pixels, a secret order of the blocks, and new numbers for ten classes.
# A network can learn from photographs under this disguise. Under ``AESECBDisguise`` it hardly beats guessing.


def make_or_load_key(path):
    if path.exists():
        print(f"using {path}")
        return keys.load(path)
    size = {"image_size": (32, 32), "block_size": (8, 8)}
    bundle = keys.KeyBundle(
        keys.RMTKey.generate(**size),
        permutation=keys.PermutationKey.generate(**size),
        labels=keys.LabelKey.generate(classes=10),
    )
    keys.save(bundle, path)
    print(f"wrote {path}: {bundle}")
    return bundle


# %%
# Progress
# --------
#
# ``data.export`` calls this function with the number of images done and the number of all images.


def show_progress(done, total):
    end = "\n" if done == total else ""
    print(f"\r{done:,} of {total:,} images", end=end, file=sys.stderr, flush=True)


# %%
# Export, verify, read
# --------------------
#
# RMT turns 8-bit images into real numbers on the scale of 0..255. Divide them by 255 before you normalise them.


def main():
    parser = argparse.ArgumentParser(description="Export CIFAR-10 with an RMT disguise.")
    parser.add_argument("source", help="cifar10:ROOT or a WebDataset pattern")
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--workers", type=int, default=0, help="worker processes")
    arguments = parser.parse_args()

    bundle = make_or_load_key(arguments.out.with_name(arguments.out.name + ".key"))
    source = data.open_source(arguments.source)
    result = data.export(
        source,
        arguments.out,
        transform=transforms.from_key(bundle),
        key=bundle,  # the whole bundle: its label key renames the classes
        workers=arguments.workers,
        progress=show_progress,
    )
    print(f"{result.images:,} images in {result.shards} shards, {result.size / 1e6:.1f} MB")

    checked = data.verify(result.location, bundle)
    print(f"verified: {checked.shards} shards, manifest checked by: {checked.proofs}")

    images, labels = next(iter(DataLoader(data.read(result.location).shuffle(1000), batch_size=8)))
    images = images / 255
    print(f"one batch: images {images.dtype} {list(images.shape)}, renamed labels {labels.tolist()}")
    print(f"labels renamed back by the key holder: {bundle.labels.unmap(labels).tolist()}")


if __name__ == "__main__":
    try:
        main()
    except errors.ProtectError as error:
        sys.exit(f"error: {error}")
