"""A small world to audit: four classes of pictures that a small network tells apart, each picture one of its kind."""

from dataclasses import replace

import torch
from Crypto.Cipher import AES
from torch import Tensor

from torchprotect import attacks, audit, data, keys, transforms

CLASSES, SIZE, BLOCK = 4, (16, 16), (4, 4)
QUICK = audit.Settings(
    trainings=1,  # most of the time of such an audit goes to training
    train_images=40,
    epochs=1,  # of some dozen images, so four times as many
    targets=60,
    pairs=(2, 60),
    inversion_pairs=60,
    inversion_epochs=2,
)
LEARNED = replace(QUICK, train_images=200, epochs=2)
"""As quick, but for networks that know the classes: where a test looks at what they answer."""


def pictures(count: int = 240, seed: int = 0, channels: int = 1) -> tuple[Tensor, Tensor]:
    """Return uint8 images: a bright shape on black, one for each class, moved, dimmed, holed and textured."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % CLASSES
    across = torch.arange(16).repeat(16, 1)
    images = torch.zeros(count, channels, *SIZE)
    for place, label in enumerate(labels.tolist()):
        x, y = (int(torch.randint(*edges, (), generator=generator)) for edges in ((0, 4), (6, 12)))  # not symmetric
        shape = torch.zeros(SIZE, dtype=torch.bool)
        if label == 0:
            shape[y : y + 4, 2:16] = True
        elif label == 1:
            shape[1:15, x : x + 5] = True
        elif label == 2:
            shape[y - 4 : y + 3, x : x + 8] = True
        else:
            shape = (across - across.T).abs() < 2
        level = 130 + 100 * torch.rand((), generator=generator)
        holes = (torch.rand(16, 4, generator=generator) > 0.25).repeat_interleave(4, 1)
        images[place] = shape * holes * (level + 25 * torch.rand(channels, *SIZE, generator=generator))
    return images.round().to(torch.uint8), labels


class World(torch.utils.data.Dataset):
    """The pictures as a data set."""

    def __init__(self, count: int = 240, seed: int = 0, channels: int = 1):
        self.images, self.labels = pictures(count, seed, channels)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index], int(self.labels[index])


def make_key(kind: str, **options):
    sizes = {"image_size": SIZE, "block_size": BLOCK}
    order, names = keys.PermutationKey.generate(**sizes), keys.LabelKey.generate(classes=CLASSES)
    if kind == "BlockPermute":
        return keys.KeyBundle(order, None, names)
    made = {"AESECBDisguise": keys.AESKey, "RMTDisguise": keys.RMTKey}[kind].generate(**sizes, **options)
    return keys.KeyBundle(made, order, names)


def named(*names: str) -> list[attacks.Attack]:
    """Return some of our attacks, in the order in which an audit runs them."""
    return [each for each in attacks.ATTACKS if each.name in names]


def export(out, kind: str = "RMTDisguise", key=None, dataset=None, *, noise: float = 0.0, **options):
    """Export the world and return the key."""
    key = key or make_key(kind)
    settings = {"noise": noise} if kind == "RMTDisguise" else {}
    transform = transforms.from_key(key, **settings)
    data.export(World() if dataset is None else dataset, out, transform=transform, key=key, shard_size=100, **options)
    return key


def in_counter_mode(images: Tensor) -> Tensor:
    """Encrypt uint8 images by AES-CTR with a fixed key; no two share any part of the keystream."""
    cipher = AES.new(bytes(range(16)), AES.MODE_CTR, nonce=b"control.")
    return torch.frombuffer(bytearray(cipher.encrypt(images.numpy().tobytes())), dtype=torch.uint8).view(images.shape)


def control(kind: str, how: str, count: int = 400) -> audit.Evidence:
    """Return evidence whose disguise does nothing (``identity``), or leaves nothing (``noise``): AES-CTR."""
    images, labels = pictures(count)
    scheme = attacks.Scheme(kind, block_size=BLOCK, permuted=True, unit_pixels=4)
    generator = torch.Generator().manual_seed(9)
    disguised, order = images, torch.arange(16)
    if how == "noise":
        order = torch.randperm(16, generator=generator)  # where nothing tells it, attacks leave blocks as they are
        disguised = in_counter_mode(images)
    if kind == "RMTDisguise":
        disguised = disguised.float()
    return audit.Evidence(
        disguised,
        scheme,
        labels=labels,
        plain=images,
        plain_labels=labels,
        pairing=torch.arange(count),
        order=order,
    )
