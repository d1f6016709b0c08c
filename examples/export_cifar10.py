"""
Export CIFAR-10 with an RMT disguise
====================================

Makes a key, writes disguised WebDataset shards, verifies them and reads one batch back::

    python examples/export_cifar10.py cifar10:data cifar10-disguised --workers 2
    python examples/export_cifar10.py "train-{000000..000020}.tar" cifar10-disguised

The first form reads the files torchvision keeps in ``data``, the second one WebDataset shards with ``.png`` and
``.cls`` members. The key lies beside the output folder, as ``OUT.key``. Run the same line again after an interruption:
the key is found, and the export goes on where it stopped.
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
# One matrix for each block of 8 x 8 pixels, an order of the blocks, and new names for ten classes. A network can learn
# from photographs under this disguise; under ``AESECBDisguise`` it hardly beats guessing.


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
# The callback gets the number of images done and the number in all; what it draws is its own affair.


def show_progress(done, total):
    end = "\n" if done == total else ""
    print(f"\r{done:,} of {total:,} images", end=end, file=sys.stderr, flush=True)


# %%
# Export, verify, read
# --------------------
#
# RMT makes real numbers of 8-bit images, on the scale of 0..255: divide them by 255 before you normalise them.


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
        key=bundle,  # the bundle, not only its matrices: it also renames the labels
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
