"""Real sets from end to end. They are no part of the repository: TORCHPROTECT_DATA names the folder that holds them."""

import subprocess

import torch
from support import content, make_bundle
from torch.utils.data import Subset

from torchprotect import data, keys, transforms
from torchprotect.data.keyed import keyed_order


def test_fashion_mnist_test_set(real, tmp_path):
    source = data.open_source(f"fashion-mnist:{real}:test")
    assert len(source) == 10_000
    bundle = make_bundle("aes", (28, 28), (4, 4))
    for workers, out in ((0, "a"), (2, "b")):
        data.export(source, tmp_path / out, transform=transforms.from_key(bundle), key=bundle, workers=workers)
    assert content(tmp_path / "a") == content(tmp_path / "b")
    undo = transforms.from_key(bundle, inverse=True)
    order = keyed_order(bundle.subkey("order"), 10_000).tolist()
    for (image, label), index in zip(data.read(tmp_path / "a"), order, strict=True):
        assert torch.equal(undo(image), source[index].image)
        assert bundle.labels.unmap(label) == source[index].label


def test_mnist_is_the_published_one(real):
    source = data.open_source(f"mnist:{real}")
    counts = torch.tensor([source[i].label for i in range(len(source))]).bincount().tolist()
    assert counts == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def test_cifar10_gzipped_shards_with_noise(real, tmp_path):
    source = data.open_source(str(real / "cifar10" / "test-{000003..000004}.tar.gz"))
    bundle = make_bundle("rmt", (32, 32), (8, 8), channels=3)
    transform = transforms.from_key(bundle, noise=25)
    result = data.export(Subset(source, range(1200)), tmp_path / "out", transform=transform, key=bundle, workers=2)
    assert data.verify(tmp_path / "out", bundle).images == result.images == 1200
    image, _ = next(iter(data.read(tmp_path / "out")))
    assert (image.dtype, tuple(image.shape)) == (torch.float32, (3, 32, 32))


def test_photographs(real, tmp_path):
    """ImageNet samples are of many sizes: the error says which one, and a resize before the disguise settles it."""
    from torchvision.transforms import v2

    source = data.open_source(str(real / "imagenet-samples" / "val-000001.tar"))
    key = keys.AESKey.generate(image_size=(224, 224), block_size=(16, 16))
    transform = v2.Compose([v2.Resize(240), v2.CenterCrop(224), transforms.from_key(key)])
    data.export(Subset(source, range(60)), tmp_path / "out", transform=transform)
    assert {tuple(image.shape) for image, _ in data.read(tmp_path / "out")} == {(3, 224, 224)}


def test_no_key_material_in_any_output(real, tmp_path):
    bundle = make_bundle("aes", (28, 28), (4, 4))
    source = Subset(data.open_source(f"fashion-mnist:{real}:test"), range(2000))
    data.export(source, tmp_path / "out", transform=transforms.from_key(bundle), key=bundle)
    for secret in (bundle.root, bundle.transform.root, *bundle.transform.keys.reshape(-1, 16)):
        pattern = "".join(f"\\x{byte:02x}" for byte in secret.tolist())
        for spelled in (["-P", pattern], ["-i", bytes(secret.tolist()).hex()]):
            found = subprocess.run(
                ["grep", "-r", "-a", "-l", *spelled, str(tmp_path / "out")], capture_output=True, env={"LC_ALL": "C"}
            )
            assert found.returncode == 1, found
