"""What measurements on "One Way Scrambling by Deconvolution" (Savransky et al.) need: sets, encoders, keys, clouds.

The test images of a set with ten labels are the organisation's confidential ones. Its training images are public: they
calibrate keys and train clouds.
"""

import functools
import sys
from dataclasses import dataclass
from pathlib import Path

import filelock
import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import center_crop, resize

sys.path.insert(0, str(Path(__file__).parent.parent))

from common.images import Images, draw_images
from common.kept import Kept
from common.networks import make_network
from common.trainings import fit
from encoders import Encoder, last_layer, open_network

from torchprotect import data, functional, keys, owsd

CLASSES, TAKEN_AT_ONCE = 10, 16
IMAGENET, OWN, OWN_FEW = "imagenet", "own", ("own 0-4", "own 5-9")
TRAINING = "adamw"  # of clouds of one's own: without label smoothing, which would change their confidence
SMALL, INSIDE = "small", "inside"


@dataclass(frozen=True)
class Sizes:
    """What decides every number.

    Attributes:
        images: confidential ones, as many of each label.
        encoders: networks by name; the first one where one is enough, and to calibrate keys.
        encoder_size: side that images are resized to for them.
        cloud: a network trained on ImageNet.
        cloud_size: side that it takes.
        own_cloud: a network that is trained on public images of the same set.
        own_images: how many it is trained on.
        own_epochs: of that training.
        key_size: side of scrambled images.
        width: of the generator.
        calibration: public images that a key is calibrated with.
        pixels: side of scrambled images that are kept, made smaller.
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
    pixels: int

    def encoders_for(self, cloud: str) -> tuple[str, ...]:
        """Return the encoders that a cloud is asked with: it never is one of them."""
        return tuple(each for each in self.encoders if cloud != IMAGENET or each != self.cloud)


@dataclass(frozen=True)
class Sources:
    """Where images lie, as for ``torchprotect export``; ``None``: some are drawn.

    Attributes:
        public: training images of the set.
        confidential: its test images.
        photographs: of any size, with ImageNet's labels; ``None``: there are none.
    """

    public: str | None = None
    confidential: str | None = None
    photographs: str | None = None


class Bench:
    """Images, embeddings, keys and clouds; what takes long is kept on disk.

    Keys come from the operating system's entropy, one for each fold, and are kept in ``--out``. So numbers do not
    repeat to the digit with another ``--out``; nor do cells that are measured after the kept files were deleted
    belong to the keys of those before.

    Args:
        sizes: of sets and networks.
        sources: of images.
        kept: embeddings, keys, clouds and their answers.
        device: where networks run.

    Raises:
        ValueError: the ImageNet cloud is the encoder where one is enough.
    """

    def __init__(self, sizes: Sizes, sources: Sources, kept: Kept, device: torch.device) -> None:
        if sizes.cloud == sizes.encoders[0]:
            raise ValueError(f"{sizes.cloud} is the cloud: the first encoder must be another network")
        self.sizes, self._sources, self.kept, self.device = sizes, sources, kept, device

    # images

    @functools.cached_property
    def confidential(self) -> Images:
        """The organisation's images, as many of each label, in a random order."""
        each = self.sizes.images // CLASSES
        return _drawn(2, each) if self._sources.confidential is None else _balanced(self._sources.confidential, each)

    @functools.cached_property
    def _public(self) -> Images:
        each = -(-(self.sizes.calibration + self.sizes.own_images) // CLASSES)
        return _drawn(1, each) if self._sources.public is None else _balanced(self._sources.public, each)

    @functools.cached_property
    def photographs(self) -> Images:
        """Photographs, their middle cut out, uint8 ``[N, 3, 240, 240]``, and their labels."""
        opened = data.open_source(str(self._sources.photographs))
        images = torch.stack([_middle(opened[index].image) for index in range(len(opened))])
        return Images(images, torch.tensor(opened.known_labels()))

    def pictures(self, photographs: str | None) -> Images:
        """Return the confidential images or, if their source is named, the photographs."""
        return self.confidential if photographs is None else self.photographs

    # inside the organisation

    def embeddings(self, encoder: str, photographs: str | None = None) -> Tensor:
        """Return the embeddings of the confidential images, or of photographs."""
        name = ("embeddings", encoder, photographs)
        return self.kept.tensor(name, lambda: self.embed(encoder, self.pictures(photographs).images))

    def embed(self, encoder: str, images: Tensor) -> Tensor:
        """Run any images through an encoder."""
        network = Encoder(encoder, self.sizes.encoder_size).eval().to(self.device)
        with torch.no_grad():
            parts = images.split(TAKEN_AT_ONCE)
            return torch.cat([network(part.to(self.device).float() / 255).cpu() for part in parts])

    def key(self, fold: int, side: int | None = None, *, calibrated: bool = True) -> keys.OWSDKey:
        """Return the key of a fold for images of some side, calibrated on public images."""
        return self._key(fold, side or self.sizes.key_size, calibrated)

    @functools.lru_cache(maxsize=2)  # noqa: B019 - there is one bench, and it lives as long as the program
    def _key(self, fold: int, side: int, calibrated: bool) -> keys.OWSDKey:
        path = self._key_path(fold, side, calibrated)
        with filelock.FileLock(path.with_suffix(".lock")):
            if not path.exists():
                keys.save(self._new_key(side, calibrated), path)
        return keys.load(path)

    def _key_path(self, fold: int, side: int, calibrated: bool) -> Path:
        return self.kept.path("key", fold, side, calibrated)

    def _new_key(self, side: int, calibrated: bool) -> keys.OWSDKey:
        images = self._public.images[: self.sizes.calibration]
        embeddings = self.embed(self.sizes.encoders[0], images)
        size = {"embedding_size": embeddings.shape[1], "image_size": (side, side), "width": self.sizes.width}
        return keys.OWSDKey.generate(**size, embeddings=embeddings if calibrated else None)

    def scramble(self, embeddings: Tensor, key: keys.OWSDKey) -> Tensor:
        """Return scrambled images, uint8 ``[N, 3, H, W]``."""
        parts = embeddings.split(TAKEN_AT_ONCE)
        return torch.cat([functional.owsd_scramble(part.to(self.device), key).cpu() for part in parts])

    # what clouds say

    def answers(self, encoder: str, fold: int, photographs: str | None = None) -> dict[str, Tensor]:
        """Scramble all images with the key of a fold, and ask clouds.

        Returns:
            By cloud, probabilities ``[N, V]``; under :data:`INSIDE` the features in ImageNet's cloud that they are made
            from, which whoever runs it can read; under :data:`SMALL` the scrambled images, uint8
            ``[N, 3, pixels, pixels]``.
        """
        return self.kept.tensors(
            self._answers_name(encoder, fold, photographs, self.key(fold)),
            lambda: self._ask(encoder, self.key(fold), photographs),
        )

    def answers_if_kept(self, encoder: str, fold: int, photographs: str | None = None) -> dict[str, Tensor] | None:
        """Return answers that were made before; pictures are drawn from them."""
        if not self._key_path(fold, self.sizes.key_size, True).exists():
            return None
        path = self.kept.path(*self._answers_name(encoder, fold, photographs, self.key(fold)))
        return self.answers(encoder, fold, photographs) if path.exists() else None

    def _answers_name(
        self, encoder: str, fold: int, photographs: str | None, key: keys.OWSDKey
    ) -> tuple[str, str, int, str | None, str]:
        return "answers", encoder, fold, photographs, key.fingerprint

    def _ask(self, encoder: str, key: keys.OWSDKey, photographs: str | None) -> dict[str, Tensor]:
        clouds = [cloud for cloud in (IMAGENET, OWN, *OWN_FEW) if encoder in self.sizes.encoders_for(cloud)]
        clouds = clouds if photographs is None else [IMAGENET]
        found: dict[str, list[Tensor]] = {name: [] for name in (*clouds, INSIDE, SMALL)}
        look = last_layer(self.cloud(IMAGENET).model).register_forward_pre_hook(
            lambda module, inputs: found[INSIDE].append(inputs[0].cpu())
        )
        for part in self.embeddings(encoder, photographs).split(TAKEN_AT_ONCE):
            scrambled = self.scramble(part, key)
            found[SMALL].append(resized(scrambled, self.sizes.pixels))
            for cloud in clouds:
                found[cloud].append(self.cloud(cloud)(scrambled))
        look.remove()
        return {name: torch.cat(parts) for name, parts in found.items() if parts}

    def plain_answers(self, cloud: str, photographs: str | None = None) -> Tensor:
        """Return a cloud's answers for the plain images, which the organisation never asks for."""
        return self.kept.tensor(
            ("plain", cloud, photographs), lambda: self.cloud(cloud)(self.pictures(photographs).images)
        )

    def observe(self, cloud: str, encoders: tuple[str, ...], fold: int) -> owsd.Observations:
        """Return embeddings and answers of one or more encoders side by side, all under the key of a fold.

        Raises:
            ValueError: the cloud is one of the encoders.
        """
        refused = set(encoders) - set(self.sizes.encoders_for(cloud))
        if refused:
            raise ValueError(f"{', '.join(refused)} is the cloud: an encoder must be another network")
        embeddings = [self.embeddings(each) for each in encoders]
        answers = [self.answers(each, fold)[cloud] for each in encoders]
        return owsd.Observations(torch.cat(embeddings, 1), torch.cat(answers, 1))

    @functools.cache  # noqa: B019
    def cloud(self, cloud: str) -> owsd.ModelCloud:
        """Return a cloud: ``"imagenet"``, ``"own"``, or ``"own 5-9"``, which was trained on these labels only."""
        if cloud == IMAGENET:
            network, mean, std = open_network(self.sizes.cloud)
            size = (self.sizes.cloud_size,) * 2
            return owsd.ModelCloud(network.to(self.device), size, mean, std, batch_size=TAKEN_AT_ONCE)
        labels, side = own_labels(cloud), self.confidential.images.shape[-1]
        network = make_network(self.sizes.own_cloud, 3, len(labels), (side, side))
        network.load_state_dict(self.kept.tensors(("cloud", cloud), lambda: self._train(network, cloud)))
        return owsd.ModelCloud(network.to(self.device).eval(), (side, side), batch_size=TAKEN_AT_ONCE)

    def _train(self, network: nn.Module, cloud: str) -> dict[str, Tensor]:
        torch.manual_seed(23)
        public = Images(*(part[self.sizes.calibration :] for part in self._public)).of_labels(own_labels(cloud))
        checkpoint = self.kept.path("training", cloud).with_suffix(".checkpoint")
        fit(network.to(self.device), public, TRAINING, self.sizes.own_epochs, checkpoint)
        return network.state_dict()


def own_labels(cloud: str) -> range:
    """Return the labels that a cloud of one's own knows."""
    first, dash, last = cloud.removeprefix(OWN).strip().partition("-")
    return range(int(first), int(last) + 1) if dash else range(CLASSES)


def resized(images: Tensor, side: int) -> Tensor:
    """Bring uint8 images to a size."""
    floats = nn.functional.interpolate(images.float(), (side, side), mode="bilinear", antialias=True)
    return floats.round().clamp(0, 255).byte()


def _balanced(spec: str, each: int) -> Images:
    """Read as many images of each label, in a random order that is always the same."""
    source = data.open_source(spec)
    labels = torch.tensor(source.known_labels())
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(23))
    chosen = torch.cat([order[labels[order] == label][:each] for label in range(CLASSES)])
    if len(chosen) < CLASSES * each:
        raise SystemExit(f"the source has too few images: {each} of each of {CLASSES} labels are needed")
    chosen = chosen.sort().values  # archives are read from their beginning
    images = torch.stack([source[index].image for index in chosen.tolist()])
    mixed = torch.randperm(len(chosen), generator=torch.Generator().manual_seed(23))
    return Images(images[mixed], labels[chosen[mixed]])


def _middle(image: Tensor, side: int = 240) -> Tensor:
    """Cut the middle out of a photograph."""
    found: Tensor = center_crop(resize(image, [side], antialias=True), [side, side])
    return found.expand(3, -1, -1)


def _drawn(seed: int, each: int) -> Images:
    """Draw as many images of each label, in a random order."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(CLASSES).repeat(each)[torch.randperm(CLASSES * each, generator=generator)]
    return draw_images(labels, CLASSES, generator)
