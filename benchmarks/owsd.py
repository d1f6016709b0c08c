"""Scrambling beside the bare generator, and training an inference network on cached answers.

The generator is that of a key for 2,048 numbers: the same weights, batch norm included, in eval mode and without
gradients. The batch is the one at which it is fastest. On the CPU the times are the processor's, not the wall clock's.
Embeddings and weights are random, which changes nothing about the time.

Usage: python benchmarks/owsd.py [--threads N] [--rounds N] [--quick] [--device cpu|cuda] [--out FILE]
"""

import time
from functools import partial

import _cases
import torch
from _cases import Builder, Case, Contestant, Goal, Setup, benchmark
from _common import Action, cuda_clock, interleave
from torch import Tensor, nn
from torchvision.models import resnet50

from torchprotect import functional, keys, owsd, transforms
from torchprotect.models import DCGANGenerator

EMBEDDING, SIDE, PHOTOGRAPH = 2048, 256, 64
IMAGES, FEATURES, ANSWERS, CLASSES, EPOCHS, MINUTES = 9000, 1280, 1000, 10, 40, 5
OURS, BARE = "owsd_scramble", "generator alone"
TRANSFORM, BOTH = "OWSDScramble", "encoder and generator alone"


class World:
    """A key, its generator, and what goes through it."""

    def __init__(self, setup: Setup, side: int) -> None:
        self.setup, self.side = setup, side
        self.key = keys.OWSDKey.generate(
            embedding_size=EMBEDDING, image_size=(side, side), width=4 if setup.quick else 32
        )
        self.bare = DCGANGenerator(EMBEDDING, (side, side), width=self.key.width, affine=False)
        self.bare.load_state_dict(dict(self.key.generator), strict=False)  # the number of batches seen is not kept
        self.bare.to(setup.device).eval()

    def embeddings(self, count: int) -> Tensor:
        """Draw embeddings."""
        return torch.rand(count, EMBEDDING, device=self.setup.device)

    @torch.no_grad()
    def generate(self, embeddings: Tensor) -> Tensor:
        """Run the bare generator."""
        made: Tensor = self.bare(embeddings)
        return made

    def best_batch(self) -> int:
        """Return the number of images at which the bare generator is fastest."""
        sizes = (2,) if self.setup.quick else (64, 128, 256) if self.setup.cuda else (1, 2, 4, 8, 16, 32)
        actions = {str(size): partial(self.generate, self.embeddings(size)) for size in sizes}
        seconds = interleave(actions, 3, clock=cuda_clock if self.setup.cuda else processor_clock)
        return max(sizes, key=lambda size: size / min(seconds[str(size)]))


def function(setup: Setup, side: int) -> Case:
    """Compare the function with the generator."""
    world = World(setup, side)
    batch = world.best_batch()
    embeddings = world.embeddings(batch)
    contestants = [
        Contestant(OURS, partial(functional.owsd_scramble, embeddings, world.key), "ours"),
        Contestant(BARE, partial(world.generate, embeddings), "other"),
    ]
    goals = [Goal("of the speed of the generator", 0.9, [BARE])]
    return Case(f"scrambling to {side} x {side}, batches of {batch}", contestants, goals, batch, "kimages/s")


def transform(setup: Setup) -> Case:
    """Compare the transform with its encoder and the generator."""
    world = World(setup, SIDE)
    batch = world.best_batch()
    encoder = resnet50()
    encoder.fc = nn.Identity()
    encoder.to(setup.device).eval()
    images = setup.image(batch, 3, PHOTOGRAPH, PHOTOGRAPH)
    disguise = transforms.OWSDScramble(encoder, world.key, batch_size=batch)

    @torch.no_grad()
    def alone() -> Tensor:
        return world.bare(encoder(images.float() / 255))

    contestants = [
        Contestant(TRANSFORM, partial(disguise, images), "ours"),
        Contestant(BOTH, alone, "other"),
        Contestant("encoder alone", torch.no_grad()(lambda: encoder(images.float() / 255)), "other"),
    ]
    goals = [Goal("of the speed of both", 0.9, [BOTH])]
    name = f"ResNet-50 on {PHOTOGRAPH} x {PHOTOGRAPH}, then scrambling to {SIDE} x {SIDE}, batches of {batch}"
    return Case(name, contestants, goals, batch, "kimages/s")


def training(setup: Setup) -> Case:
    """Train inference networks on cached rows, for all epochs; three networks, for the ablations come along."""
    images, epochs = (64, 1) if setup.quick else (IMAGES, EPOCHS)
    observed = owsd.Observations(torch.rand(images, FEATURES), torch.rand(images, ANSWERS).softmax(1))
    labels = torch.randint(0, CLASSES, (images,))
    settings = owsd.InferenceSettings(epochs=epochs, patience=epochs)

    def fit() -> owsd.Inference:
        return owsd.Inference.fit(observed, labels, classes=CLASSES, settings=settings)

    bound = 1000 * 60 * MINUTES / (IMAGES * EPOCHS)
    goals = [Goal(f"ms an image and epoch, {MINUTES} minutes in all", bound, at_most=True)]
    name = f"training on {images:,} rows of {FEATURES} + {ANSWERS} numbers, {epochs} epochs"
    return Case(name, [Contestant("all three networks", fit, "ours")], goals, images * epochs, "kimages/s", slow=True)


def cases(setup: Setup) -> list[Builder]:
    """List all cases."""
    scrambling = [partial(function, setup, side) for side in (SIDE, 64)]
    return [*scrambling, partial(transform, setup), *(() if setup.cuda else (partial(training, setup),))]


def processor_clock(action: Action, count: int) -> float:
    """Return the processor seconds that ``count`` calls take, on all threads: others may share the machine."""
    start = time.process_time()
    for _ in range(count):
        action()
    return time.process_time() - start


if __name__ == "__main__":
    _cases.wall_clock = processor_clock
    benchmark(__doc__, "owsd", cases)
