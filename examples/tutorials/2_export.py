"""
Export and share shards
=======================

You turn a folder of photographs into protected WebDataset shards, check them, read them for
training as somebody without the key does, and restore the plain pictures as the key holder. The
same takes four commands on the command line; they are at the end of this page.
"""

import shutil
import tarfile
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import PIL.Image
from torch.utils.data import BatchSampler, DataLoader, RandomSampler

from torchprotect import data, demo, keys, transforms

folder = Path(tempfile.mkdtemp())  # or a folder of yours

# %%
# A folder of photographs
# -----------------------
#
# To have something to export, copy the 199 photographs that come with the package into a training
# and a test folder, each with one folder for every class. Your own photographs can stay where
# they are.

for number, path in enumerate(sorted(Path(demo.PHOTOGRAPHS).rglob("*.jpg"))):
    copy = folder / "photos" / ("train" if number % 5 else "test") / path.parent.name / path.name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)

# %%
# Bring all of them to one size
# -----------------------------
#
# The photographs have 57 sizes. A key is made for one size, so a
# :class:`~torchprotect.data.Preparation` first brings every picture to it: upright as its EXIF
# data says, RGB, the shorter side 72 pixels, then the central 64 x 64.

prepare = data.Preparation(exif=True, mode="rgb", resize=72, crop=(64, 64))

size = {"image_size": (64, 64), "block_size": (8, 8)}
key = keys.KeyBundle(
    keys.RMTKey.generate(**size),
    permutation=keys.PermutationKey.generate(**size),
    labels=keys.LabelKey.generate(classes=7),
)
keys.save(key, folder / "photographs.key")  # keep it: nothing can be restored without it

# %%
# Export a training and a test set
# --------------------------------
#
# Both splits share the disguise, so that one network fits both. Their order, sample ids and noise
# are independent. ``noise=25`` adds up to 25 grey levels to each pixel before its block is
# multiplied by a matrix.

results = data.export_splits(
    {split: data.open_source(folder / "photos" / split) for split in ("train", "test")},
    folder / "protected",
    transform=transforms.from_key(key, noise=25),
    key=key,
    prepare=prepare,
    shard_size=20,
)
for split, result in results.items():
    print(f"{split}: {result.images} images in {result.shards} shards, {result.size / 1e6:.1f} MB")

# %%
# An interrupted export continues when you run it again: finished shards are checked and kept.
#
# What is in an export
# --------------------
#
# A shard is a plain tar file. The manifest lists a SHA-256 for every shard; ``owner.sealed``
# holds file and class names, encrypted for the key holder.

for path in sorted((folder / "protected" / "train").iterdir()):
    print(f"{path.stat().st_size:>10,}  {path.name}")
with tarfile.open(folder / "protected" / "train" / "shard-000000.tar") as shard:
    print(shard.getnames()[:4])

# %%
# :func:`~torchprotect.data.verify` compares every byte with the manifest and, given the key, the
# manifest with its keyed digest (HMAC). It raises :class:`~torchprotect.errors.VerificationError`
# if anything differs.

print(data.verify(folder / "protected" / "train", key).images, "images verified")

# %%
# Train without the key
# ---------------------
#
# :class:`~torchprotect.data.ShardDataset` reads an export on disk in any order. It is fastest
# with whole batches, that is with a batch sampler and ``batch_size=None``. Those who train need
# no key, and not even this package: webdataset and tar read the shards too.

shards = data.ShardDataset(folder / "protected" / "train")
batches = BatchSampler(RandomSampler(shards), batch_size=64, drop_last=False)
for images, labels in DataLoader(shards, sampler=batches, batch_size=None):
    print(tuple(images.shape), images.dtype, "labels", labels[:8].tolist())

# %%
# RMT shards hold float32 numbers on the scale of 0..255, but not confined to it. Divide them
# by 255 before you normalise.
#
# Restore the plain pictures
# --------------------------
#
# The noise is generated from the key, so it can be subtracted: every pixel comes back.

restored = data.restore(folder / "protected" / "test", folder / "back", key=key)
print(f"{restored.exact} of {restored.images} photographs restored pixel by pixel")

# %%
# From top to bottom: photographs as their files have them, disguised like those in the shards, and
# restored. A :class:`~torchprotect.data.Disguiser` prepares and disguises further pictures as an
# export did.

disguiser = data.Disguiser(folder / "protected" / "test", key=key)
figure, axes = plt.subplots(3, 6, figsize=(9, 4.5))
for column, path in zip(axes.T, sorted((folder / "back").rglob("*.png"))[::6], strict=False):
    original = (folder / "photos" / "test" / path.relative_to(folder / "back")).with_suffix(".jpg")
    hidden = disguiser(original)
    column[0].imshow(PIL.Image.open(original))
    column[1].imshow(((hidden - hidden.min()) / (hidden.max() - hidden.min())).permute(1, 2, 0))
    column[2].imshow(PIL.Image.open(path))
for axis in axes.flat:
    axis.axis("off")
figure.tight_layout()

# %%
# On the command line
# -------------------
#
# .. code-block:: console
#
#     $ torchprotect keygen rmt -o photographs.key --image-size 64x64 --block-size 8x8 \
#           --permute --labels 7
#     $ torchprotect export --splits train=photos/train test=photos/test protected/ \
#           --key photographs.key --exif --mode rgb --resize 72 --crop 64x64 --noise 25
#     $ torchprotect verify protected/train protected/test --key photographs.key
#     $ torchprotect restore protected/test back/ --key photographs.key
#
# Share it
# --------
#
# * Hand over the ``protected`` folder; keep the key, which restores everything.
#   :func:`torchprotect.data.export` and the command line write to a bucket as to a folder:
#   ``s3://bucket/protected``, see :doc:`/guides/buckets`.
# * Many machines can share the work: :doc:`/guides/clusters`.
# * Whoever can read the folder has the disguised images, and can attack them. To encrypt the
#   shards for named recipients, seal them: :doc:`/guides/envelope`.
# * Before you hand anything over, measure what it leaks: :doc:`4_leaks`.
