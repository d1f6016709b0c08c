"""What measurements on "One Way Scrambling by Deconvolution" (Savransky et al.) need: images, encoders, keys, clouds.

Embeddings, clouds and their answers are kept. Keys come from the operating system's entropy and are kept beside them,
so numbers do not repeat to the digit with another folder.
"""

import functools
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import filelock
import torch
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop, resize

sys.path.insert(0, str(Path(__file__).parent.parent))

from common.digest import code_digest
from common.images import Images, draw_images, test_split
from common.kept import Kept
from common.networks import make_network
from common.trainings import fit
from encoders import Encoder, open_network

from torchprotect import data, functional, keys, owsd

CLASSES, AT_ONCE = 10, 16
IMAGENET, OWN = "imagenet", "own"
SIDE = 240  # of photographs


@dataclass(frozen=True)
class Sizes:
    """What decides every number.

    Attributes:
        images: confidential ones, as many of each label.
        encoder: network by name, where one is enough.
        encoder_size: side that images are resized to for encoders.
        cloud: a network trained on ImageNet.
        cloud_size: side that it takes.
        own_cloud: a network that is trained on the confidential images' own training set.
        own_images: how many it is trained on.
        own_epochs: of that training.
        training: how, see :mod:`common.trainings`.
        key_size: side of scrambled images.
        width: of the generator.
        calibration: public images that the key is calibrated with.
    """

    images: int
    encoder: str
    encoder_size: int
    cloud: str
    cloud_size: int
    own_cloud: str
    own_images: int
    own_epochs: int
    training: str
    key_size: int
    width: int
    calibration: int


class Bench:
    """The organisation's images and what is made of them.

    Args:
        sizes: of images, networks and keys.
        source: the training images of one set with ten labels, as for ``torchprotect export``. Its test images are the
            confidential ones; its training images are public: they calibrate keys and train clouds. None: some are
            drawn.
        photographs: pictures of any size with ImageNet's labels, as for ``torchprotect export``; none: some are drawn.
        folder: for what is kept.
        device: where networks run.
    """

    def __init__(
        self, sizes: Sizes, source: str | None, photographs: str | None, folder: Path, device: torch.device
    ) -> None:
        self.sizes, self.device = sizes, device
        self._source, self._photographs = source, photographs
        self.kept = Kept(folder, asdict(sizes), source, photographs, code_digest(Path(__file__)))

    # images

    @functools.cached_property
    def confidential(self) -> Images:
        """The organisation's images, as many of each label, in a random order."""
        each = self.sizes.images // CLASSES
        return _drawn_images(2, each) if self._source is None else _balanced(test_split(self._source), each)

    @functools.cached_property
    def _public(self) -> Images:
        each = -(-(self.sizes.calibration + self.sizes.own_images) // CLASSES)
        return _drawn_images(1, each) if self._source is None else _balanced(self._source, each)

    @property
    def calibration(self) -> Tensor:
        """Public images that calibrate keys."""
        return self._public.images[: self.sizes.calibration]

    @property
    def clouds_own(self) -> Images:
        """Public images that clouds are trained on."""
        return Images(*(part[self.sizes.calibration :] for part in self._public))

    @functools.cached_property
    def photographs(self) -> Images:
        """Photographs with ImageNet's labels, their middle cut out: uint8 ``[N, 3, 240, 240]``."""
        if self._photographs is None:
            drawn = draw_images(torch.arange(40) % CLASSES, CLASSES, torch.Generator().manual_seed(5))
            return Images(drawn.images, drawn.labels * 100)
        source = data.open_source(self._photographs)
        labels = torch.tensor(source.known_labels())
        return Images(torch.stack([_middle(source[index].image) for index in range(len(source))]), labels)

    # inside the organisation

    def embeddings(self, encoder: str) -> Tensor:
        """Return the embeddings of the confidential images."""
        return self.kept.tensor(("embeddings", encoder), lambda: self.embed(encoder, self.confidential.images))

    def photograph_embeddings(self) -> Tensor:
        """Return the first encoder's embeddings of the photographs."""
        encoder = self.sizes.encoder
        return self.kept.tensor(
            ("photographs", encoder, len(self.photographs.labels)),
            lambda: self.embed(encoder, self.photographs.images),
        )

    def embed(self, encoder: str, images: Tensor) -> Tensor:
        """Run any images through an encoder."""
        network = Encoder(encoder, self.sizes.encoder_size).eval().to(self.device)
        with torch.no_grad():
            parts = images.split(AT_ONCE)
            return torch.cat([network(part.to(self.device).float() / 255).cpu() for part in parts])

    @functools.cached_property
    def key(self) -> keys.OWSDKey:
        """The key, calibrated on public images."""
        return self.make_key(self.sizes.key_size)

    @functools.cache  # noqa: B019 - there is one bench, and it lives as long as the program
    def make_key(self, side: int, *, calibrated: bool = True, number: int = 0) -> keys.OWSDKey:
        """Return a key for images of some side, the same one each time with one folder."""
        sizes = self.sizes
        path = self.kept.path("key", side, calibrated, number)
        with filelock.FileLock(path.with_suffix(".lock")):
            if not path.exists():
                embeddings = self.embed(sizes.encoder, self.calibration)
                size = {"embedding_size": embeddings.shape[1], "image_size": (side, side), "width": sizes.width}
                key = keys.OWSDKey.generate(**size, embeddings=embeddings if calibrated else None)
                keys.save(key, path)
        return keys.load(path)

    def scramble(self, embeddings: Tensor, key: keys.OWSDKey) -> Tensor:
        """Return scrambled images, uint8 ``[N, 3, H, W]``."""
        parts = embeddings.split(AT_ONCE)
        return torch.cat([functional.owsd_scramble(part.to(self.device), key).cpu() for part in parts])

    # what clouds say

    def vectors(self, cloud: str, encoder: str) -> Tensor:
        """Return a cloud's answers for the scrambled images: probabilities ``[N, V]``."""
        require_another_network(cloud, encoder, self.sizes.cloud)
        name = ("answers", cloud, encoder, self.key.fingerprint)
        return self.kept.tensor(name, lambda: self.ask(cloud, self.embeddings(encoder)))

    def plain_vectors(self, cloud: str) -> Tensor:
        """Return a cloud's answers for the plain images, which the organisation never asks for."""
        return self.kept.tensor(("plain", cloud), lambda: self.cloud(cloud)(self.confidential.images))

    def photograph_vectors(self) -> tuple[Tensor, Tensor]:
        """Return the answers of ImageNet's cloud for plain and for scrambled photographs."""

        def both() -> dict[str, Tensor]:
            plain = self.cloud(IMAGENET)(self.photographs.images)
            return {"plain": plain, "scrambled": self.ask(IMAGENET, self.photograph_embeddings())}

        found = self.kept.tensors(("photograph answers", self.key.fingerprint), both)
        return found["plain"], found["scrambled"]

    def has_answers(self, photographs: object) -> bool:
        """Return whether the answers of ImageNet's cloud, about photographs or not, are still kept."""
        if not self.kept.path("key", self.sizes.key_size, True, 0).exists():
            return False
        plain = "photograph answers" if photographs else "plain"
        details = (self.key.fingerprint,) if photographs else (IMAGENET,)
        return self.kept.path(plain, *details).exists()

    def ask(self, cloud: str, embeddings: Tensor) -> Tensor:
        """Scramble images and ask a cloud about them, part by part."""
        answer = self.cloud(cloud)
        return torch.cat([answer(self.scramble(part, self.key)) for part in embeddings.split(16 * AT_ONCE)])

    def observe(self, cloud: str, encoders: Sequence[str]) -> owsd.Observations:
        """Return embeddings and answers of one or more encoders side by side, all under one key."""
        vectors = [self.vectors(cloud, each) for each in encoders]
        return owsd.Observations(torch.cat([self.embeddings(each) for each in encoders], 1), torch.cat(vectors, 1))

    @functools.cache  # noqa: B019
    def cloud(self, cloud: str) -> owsd.ModelCloud:
        """Return a cloud: ``"imagenet"``, ``"own"``, or ``"own 5-9"``, which was trained on these labels only."""
        if cloud == IMAGENET:
            network, mean, std = open_network(self.sizes.cloud)
            size = (self.sizes.cloud_size,) * 2
            return owsd.ModelCloud(network.to(self.device), size, mean, std, batch_size=AT_ONCE)
        labels = own_labels(cloud)
        side = self.clouds_own.images.shape[-1]
        network = make_network(self.sizes.own_cloud, 3, len(labels), (side, side)).to(self.device)
        network.load_state_dict(self.kept.tensors(("cloud", cloud), lambda: self._train(cloud, labels)))
        return owsd.ModelCloud(network.eval(), (side, side), batch_size=AT_ONCE)

    def _train(self, cloud: str, labels: range) -> dict[str, Tensor]:
        torch.manual_seed(23)
        images = self.clouds_own.of_labels(labels)
        side = images.images.shape[-1]
        network = make_network(self.sizes.own_cloud, 3, len(labels), (side, side)).to(self.device)
        checkpoint = self.kept.path("training", cloud).with_suffix(".checkpoint")
        return fit(network, images, self.sizes.training, self.sizes.own_epochs, checkpoint).state_dict()


def require_another_network(cloud: str, encoder: str, imagenet: str) -> None:
    """Check that the cloud is none of the encoders."""
    if cloud == IMAGENET and encoder == imagenet:
        raise SystemExit(f"{encoder} is the cloud: an encoder must be another network")


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


def _middle(image: Tensor) -> Tensor:
    """Cut the middle out of a photograph."""
    found: Tensor = center_crop(resize(image, [SIDE], antialias=True), [SIDE, SIDE])
    return found.expand(3, -1, -1)


def _drawn_images(seed: int, each: int) -> Images:
    """Draw as many images of each label, in a random order."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat(each)[torch.randperm(CLASSES * each, generator=generator)]
    return draw_images(labels, CLASSES, generator)
