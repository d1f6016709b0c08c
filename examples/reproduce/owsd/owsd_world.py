"""What the reproductions of "One Way Scrambling by Deconvolution" (Savransky et al.) share.

A :class:`World` has the organisation's images, encoders, keys and clouds. Embeddings and clouds' answers are kept in
the folder given by ``--out``, so that a second script starts where the first ended, and a run that was stopped goes on.

Keys come from the operating system's entropy, so numbers do not repeat to the digit with another ``--out``.
"""

import functools
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import center_crop, resize

sys.path.insert(0, str(Path(__file__).parent.parent))

import common.world
from common.images import Images, draw_images, test_split
from common.networks import make_network
from common.table import Table as Table  # for the scripts of the tables
from common.world import CommandLine
from encoders import Encoder, open_network

from torchprotect import data, functional, keys, owsd, training

CLASSES, TAKEN_AT_ONCE = 10, 16
IMAGENET, OWN = "imagenet", "own"


@dataclass(frozen=True)
class Scale(common.world.Scale):
    """How much work to do.

    Attributes:
        images: confidential ones, as many of each label.
        encoders: networks by name; the first one where one is enough.
        encoder_size: side that images are resized to for them.
        cloud: a network trained on ImageNet.
        cloud_size: side that it takes.
        own_cloud: a network that is trained on the confidential images' own training set.
        own_images: how many it is trained on.
        own_epochs: of that training.
        key_size: side of scrambled images.
        width: of the generator.
        calibration: public images that the key is calibrated with.
        runs: random splits of each experiment.
        images_per_label: of use case 5.
        pairs: known to the attacker, of the re-identification.
        candidates: among which it looks.
        known_labels: of the label probe.
        seeds: that the search tries.
        pixels: side of images that the autoencoder reads and writes.
        autoencoder_epochs: of its training.
        autoencoder_width: of its outermost layers.
    """

    images: int
    encoders: tuple[str, ...]
    encoder_size: int
    cloud: str
    cloud_size: int
    own_cloud: str
    own_images: int
    own_epochs: int
    key_size: int
    width: int
    calibration: int
    runs: int
    images_per_label: tuple[int, ...]
    pairs: tuple[int, ...]
    candidates: int
    known_labels: tuple[int, ...]
    seeds: int
    pixels: int
    autoencoder_epochs: int
    autoencoder_width: int


SCALES = {
    "check": Scale(
        images=100,
        encoders=("random:1", "random:2", "random:3"),
        encoder_size=32,
        cloud="random:4",
        cloud_size=32,
        own_cloud="small-vgg",
        own_images=100,
        own_epochs=1,
        key_size=16,
        width=4,
        calibration=32,
        runs=2,
        images_per_label=(2, 5),
        pairs=(5, 20),
        candidates=50,
        known_labels=(20, 50),
        seeds=16,
        pixels=16,
        autoencoder_epochs=1,
        autoencoder_width=4,
    ),
    "smoke": Scale(
        images=2000,
        encoders=("efficientnet-lite0", "efficientnet-lite2", "efficientnet-lite1"),
        encoder_size=128,
        cloud="efficientnet-lite1",
        cloud_size=128,
        own_cloud="small-resnet",
        own_images=6000,
        own_epochs=8,
        key_size=128,
        width=32,
        calibration=256,
        runs=5,
        images_per_label=(5, 10, 20, 35, 45, 100, 150),
        pairs=(10, 30, 100, 300, 1000),
        candidates=1000,
        known_labels=(10, 50, 100, 500, 1000),
        seeds=4096,
        pixels=32,
        autoencoder_epochs=15,
        autoencoder_width=16,
    ),
    "paper": Scale(
        images=10_000,
        encoders=("timm:resnetv2_50", "resnet50", "resnet101"),
        encoder_size=224,
        cloud="inception_v3",
        cloud_size=299,
        own_cloud="vgg19",
        own_images=49_000,
        own_epochs=100,
        key_size=256,
        width=32,
        calibration=1000,
        runs=5,
        images_per_label=(5, 10, 15, 20, 25, 30, 35, 40, 45, 100, 300, 900),
        pairs=(10, 30, 100, 300, 1000, 3000, 9000),
        candidates=1000,
        known_labels=(10, 50, 100, 500, 1000, 5000),
        seeds=65_536,
        pixels=128,
        autoencoder_epochs=50,
        autoencoder_width=32,
    ),
}


class World(common.world.World[Scale]):
    """The organisation's images and what is made of them, kept on disk.

    Args:
        scale: how much work to do.
        sources: the training images of one set with ten labels, as for ``torchprotect export``. Its test images are the
            confidential ones; its training images are public: they calibrate keys and train clouds. None: some are
            drawn.
        out: folder for results.
        device: where networks run.
        pictures: photographs of any size, as for ``torchprotect export``.
    """

    def __init__(
        self, scale: Scale, sources: tuple[str, ...], out: Path, device: str, pictures: str | None = None
    ) -> None:
        super().__init__(scale, sources, out, device, kept=(sources, scale.images, scale.calibration))
        self.source, self.pictures = sources[0] if sources else None, pictures

    @property
    def encoder(self) -> str:
        """The encoder where one is enough."""
        return self.scale.encoders[0]

    # images

    @functools.cached_property
    def confidential(self) -> Images:
        """The organisation's images, as many of each label, in a random order."""
        each = self.scale.images // CLASSES
        return _drawn_images(2, each) if self.source is None else _balanced(test_split(self.source), each)

    @functools.cached_property
    def _public(self) -> Images:
        each = -(-(self.scale.calibration + self.scale.own_images) // CLASSES)
        return _drawn_images(1, each) if self.source is None else _balanced(self.source, each)

    @property
    def calibration(self) -> Tensor:
        """Public images that calibrate keys."""
        return self._public.images[: self.scale.calibration]

    @property
    def clouds_own(self) -> Images:
        """Public images that clouds are trained on."""
        return Images(*(part[self.scale.calibration :] for part in self._public))

    @functools.cached_property
    def photographs(self) -> Tensor | None:
        """Photographs, their middle cut out: uint8 ``[N, 3, 240, 240]``."""
        if self.pictures is None:
            return None
        source = data.open_source(self.pictures)
        count = min(len(source), self.scale.images // 2)
        return torch.stack([_middle(source[index].image) for index in range(count)])

    # inside the organisation

    def embeddings(self, encoder: str) -> Tensor:
        """Return the embeddings of the confidential images."""
        name = ("embeddings", encoder, self.scale.encoder_size)
        return self.kept.tensor(name, lambda: self.embed(encoder, self.confidential.images))

    def embed(self, encoder: str, images: Tensor) -> Tensor:
        """Run any images through an encoder."""
        network = Encoder(encoder, self.scale.encoder_size).eval().to(self.device)
        with torch.no_grad():
            parts = images.split(TAKEN_AT_ONCE)
            return torch.cat([network(part.to(self.device).float() / 255).cpu() for part in parts])

    @functools.cached_property
    def key(self) -> keys.OWSDKey:
        """The key, calibrated on public images."""
        return self.make_key(self.scale.key_size)

    @functools.cache  # noqa: B019 - there is one world, and it lives as long as the program
    def make_key(self, side: int, *, calibrated: bool = True, number: int = 0) -> keys.OWSDKey:
        """Return a key for images of some side, the same one each time with one ``--out``."""
        scale = self.scale
        path = self.kept.path("key", self.encoder, scale.encoder_size, side, scale.width, calibrated, number)
        if not path.exists():
            embeddings = self.embed(self.encoder, self.calibration)
            size = {"embedding_size": embeddings.shape[1], "image_size": (side, side), "width": scale.width}
            key = keys.OWSDKey.generate(**size, embeddings=embeddings if calibrated else None)
            keys.save(key, path)
        return keys.load(path)

    def scramble(self, embeddings: Tensor, key: keys.OWSDKey) -> Tensor:
        """Return scrambled images, uint8 ``[N, 3, H, W]``."""
        parts = embeddings.split(TAKEN_AT_ONCE)
        return torch.cat([functional.owsd_scramble(part.to(self.device), key).cpu() for part in parts])

    # what clouds say

    def vectors(self, cloud: str, encoder: str) -> Tensor:
        """Return a cloud's answers for the scrambled images: probabilities ``[N, V]``."""
        if cloud == IMAGENET and encoder == self.scale.cloud:
            raise SystemExit(f"{encoder} is the cloud: an encoder must be another network")
        name = ("answers", *self._told(cloud), encoder, self.scale.encoder_size, self.key.fingerprint)
        return self.kept.tensor(name, lambda: self.cloud(cloud)(self.scramble(self.embeddings(encoder), self.key)))

    def plain_vectors(self, cloud: str) -> Tensor:
        """Return a cloud's answers for the plain images, which the organisation never asks for."""
        name = ("plain", *self._told(cloud))
        return self.kept.tensor(name, lambda: self.cloud(cloud)(self.confidential.images))

    def observe(self, cloud: str, *encoders: str) -> owsd.Observations:
        """Return embeddings and answers of one or more encoders side by side, all under one key."""
        embeddings = [self.embeddings(each) for each in encoders]
        return owsd.Observations(torch.cat(embeddings, 1), torch.cat([self.vectors(cloud, e) for e in encoders], 1))

    @functools.cache  # noqa: B019
    def cloud(self, cloud: str) -> owsd.ModelCloud:
        """Return a cloud: ``"imagenet"``, ``"own"``, or ``"own 5-9"``, which was trained on these labels only."""
        if cloud == IMAGENET:
            network, mean, std = open_network(self.scale.cloud)
            size = (self.scale.cloud_size,) * 2
            return owsd.ModelCloud(network.to(self.device), size, mean, std, batch_size=TAKEN_AT_ONCE)
        labels = own_labels(cloud)
        side = self.clouds_own.images.shape[-1]
        network = make_network(self.scale.own_cloud, 3, len(labels), (side, side))
        state = self.kept.tensors(("cloud", *self._told(cloud)), lambda: self._train(network, labels))
        network.load_state_dict(state)
        return owsd.ModelCloud(network.to(self.device).eval(), (side, side), batch_size=TAKEN_AT_ONCE)

    def _train(self, network: nn.Module, labels: range) -> dict[str, Tensor]:
        print(f"training a cloud on labels {labels.start} to {labels.stop - 1}", flush=True)
        torch.manual_seed(23)
        images = self.clouds_own.of_labels(labels)
        training.fit(
            network.to(self.device), (images.images.float() / 255, images.labels), epochs=self.scale.own_epochs
        )
        return network.state_dict()

    def _told(self, cloud: str) -> tuple[object, ...]:
        """Say what a cloud's answers depend on."""
        scale = self.scale
        if cloud == IMAGENET:
            return scale.cloud, scale.cloud_size
        return cloud, scale.own_cloud, scale.own_images, scale.own_epochs


def own_labels(cloud: str) -> range:
    """Return the labels that a cloud of one's own knows."""
    first, dash, last = cloud.removeprefix(OWN).strip().partition("-")
    return range(int(first), int(last) + 1) if dash else range(CLASSES)


def _balanced(spec: str, each: int) -> Images:
    """Read as many images of each label, in a random order that is always the same."""
    source = data.open_source(spec)
    labels = torch.tensor(source.known_labels())
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(23))
    chosen = torch.cat([order[labels[order] == label][:each] for label in range(CLASSES)])
    if len(chosen) < CLASSES * each:
        raise SystemExit(f"the source has too few images: {each} of each of {CLASSES} labels are needed")
    chosen = chosen[torch.randperm(len(chosen), generator=torch.Generator().manual_seed(23))]
    return Images(torch.stack([source[index].image for index in chosen.tolist()]), labels[chosen])


def _middle(image: Tensor, side: int = 240) -> Tensor:
    """Cut the middle out of a photograph."""
    found: Tensor = center_crop(resize(image, [side], antialias=True), [side, side])
    return found.expand(3, -1, -1)


def _drawn_images(seed: int, each: int) -> Images:
    """Draw as many images of each label, in a random order."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat(each)[torch.randperm(CLASSES * each, generator=generator)]
    return draw_images(labels, CLASSES, generator)


_open = functools.cache(World)  # scripts that run in one process share what they make


def read_world(description: str | None) -> World:
    """Read the command line."""
    sources = "training images of CIFAR-10: cifar10:ROOT, or a pattern of shards"
    options = CommandLine(description, SCALES, "owsd", sources)
    options.parser.add_argument("--photographs", help="an image folder or a pattern of shards, for Table 5")
    options.parser.add_argument("--encoder", action="append", help="network by name, once for each; not the scale's")
    options.parser.add_argument("--cloud", help="ImageNet network by name; not the scale's")
    given = options.read(sources=1)
    scale = SCALES[given.scale]
    scale = replace(scale, encoders=tuple(given.encoder or scale.encoders), cloud=given.cloud or scale.cloud)
    return _open(scale, given.source, given.out, given.device, given.photographs)
