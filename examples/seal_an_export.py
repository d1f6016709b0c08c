"""
Seal an export for the people who train on it
=============================================

Disguises the Fashion-MNIST sample that comes with the package, encrypts the shards for one recipient, and signs them.
The recipient trains a small network on them. Then somebody else who can write to the folder replaces the export by
another one. The recipient can open it, since anybody can seal for a public key, but it lacks the owner's signature.

Run ``python examples/seal_an_export.py OUT``. It needs the extra ``envelope`` and takes about four seconds of processor
time.
"""

import argparse
import shutil
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from torchprotect import data, envelope, keys, transforms
from torchprotect.demo import SAMPLE
from torchprotect.errors import VerificationError

# %%
# Who has what
# ------------
#
# The recipient makes an identity and hands out its public key. The owner has the key of the disguise and a signing key.
# The recipient gets the public half of the signing key through another channel than the shards.


def make_secrets(out):
    recipient = envelope.generate_identity(out / "alice.identity")
    signer = envelope.generate_signing_key(out / "release")
    return recipient, envelope.SigningKey.load(out / "release"), signer


def make_key():
    size = {"image_size": (28, 28), "block_size": (7, 7)}
    return keys.KeyBundle(keys.RMTKey.generate(**size), permutation=keys.PermutationKey.generate(**size))


# %%
# The owner
# ---------
#
# With ``recipients`` every shard is sealed before it is written. Everything else is as for any export.


def export(out, recipient, signing_key=None):
    key = make_key()
    return data.export(
        data.open_source(SAMPLE),
        out,
        transform=transforms.from_key(key),
        key=key,
        shard_size=500,
        recipients=[recipient],
        signing_key=signing_key,
    )


# %%
# The recipient
# -------------
#
# The recipient reads the disguised images in place. The signature is checked before any image is read.


def train(out, identity, signer):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(784), nn.Linear(784, 10))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    images = data.read(out, identity=identity, signer=signer).shuffle(500)
    right = total = 0
    for disguised, label in DataLoader(images, batch_size=50):
        scores = network(disguised.float())
        optimizer.zero_grad()
        nn.functional.cross_entropy(scores, label).backward()
        optimizer.step()
        right, total = right + int((scores.argmax(1) == label).sum()), total + len(label)
    print(f"recipient: one epoch over {total:,} disguised images, {right / total:.0%} right on the way")


def main():
    parser = argparse.ArgumentParser(description="Seal an export for a recipient, sign it, and replace it.")
    parser.add_argument("out", type=Path, help="folder to write to")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    recipient, signing_key, signer = make_secrets(out)
    result = export(out / "sealed", recipient, signing_key)
    print(f"owner: {result.images:,} images in {result.shards} sealed shards, digest {result.digest[:12]}..")
    train(out / "sealed", out / "alice.identity", signer)

    shutil.rmtree(out / "sealed")
    export(out / "sealed", recipient)
    print(f"another export opens as well: {data.verify(out / 'sealed', identity=out / 'alice.identity').proofs}")
    try:
        data.read(out / "sealed", identity=out / "alice.identity", signer=signer)
    except VerificationError as error:
        print(f"but not with the signer: {error}")


if __name__ == "__main__":
    main()
