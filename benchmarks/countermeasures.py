"""What a network learns from a release of AdversarialEncrypt, after each countermeasure.

Usage: OMP_NUM_THREADS=1 python benchmarks/countermeasures.py ROOT --work DIR [--seeds N] [--only WORDS]. ROOT has
FashionMNIST/raw. The linear probe needs pip install '.[reproduce]'.

The owner trains a small ResNet on 2,000 images and leads them to the targets of the map "basic" (eps 1.5, 10 steps of
0.3, stored as uint8). Attackers train a small VGG, or a linear probe of pretrained features, for 8 epochs. They are
tested on 1,000 plain images of the test set, which also say which epoch is best ("peak"). Pairs are other images, led
by the same network; beside a purifier stands a training on their plain images alone, of as many steps. Controls: a
release that was not changed (eps 0), on which a countermeasure must not do harm; and released labels in a drawn order,
from which nothing can be learned. A seed decides the images, weights and batches. Finished cells are kept in the JSON
file, and releases in DIR, so that a run can be interrupted.
"""

import argparse
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import safetensors.torch
import torch
from _common import machine
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1] / "examples" / "reproduce"))

from common.networks import make_network

from torchprotect import attacks, data, keys, transforms
from torchprotect.adversarial import distances
from torchprotect.audit.bench.pretrained import PretrainedFeatures, how_to_install, is_installed
from torchprotect.training import fit, predict

SEEDS, RELEASED, PAIRS, TESTED_ON, EPOCHS, EPS, STEPS = 3, 2_000, 1_000, 1_000, 8, 1.5, 10
SOME_PAIRS = (20, 100, 1_000)
ORDERS = 20  # of labels, for the control of the probe
TRAINING_STEPS = 10_000  # of one image, for a purifier; at most 100 epochs
Labelled = tuple[Tensor, Tensor]
Curve = attacks.TrainingCurve


class Cells:
    """Accuracies by countermeasure and seed, kept in a JSON file."""

    def __init__(self, path: Path) -> None:
        self._path, self.found = path, json.loads(path.read_text())["cells"] if path.exists() else {}

    def measure(self, name: str, seed: int, measured: Callable[[], dict[str, float]]) -> None:
        row = self.found.setdefault(name, {})
        if str(seed) in row:
            return
        start = time.process_time()
        row[str(seed)] = {key: round(value, 4) for key, value in measured().items()}
        row[str(seed)]["cpu_seconds"] = round(time.process_time() - start, 1)
        settings = {
            "released": RELEASED,
            "tested_on": TESTED_ON,
            "epochs": EPOCHS,
            "eps": EPS,
            "steps": STEPS,
            "threads": torch.get_num_threads(),
        }
        self._path.write_text(
            json.dumps({"machine": machine(), "settings": settings, "cells": self.found}, indent=1) + "\n"
        )
        print(f"{name}, seed {seed}: {row[str(seed)]}", flush=True)


class Run:
    """All that one seed decides."""

    def __init__(self, train: Labelled, test: Labelled, seed: int, work: Path) -> None:
        self._seed, self._work = seed, work
        order = torch.randperm(len(train[0]), generator=self._generator())
        self.plain, self.labels = (part[order[:RELEASED]] for part in train)
        self.pairs_plain, self.pairs_labels = (part[order[RELEASED : RELEASED + PAIRS]] for part in train)
        chosen = torch.randperm(len(test[0]), generator=self._generator())[:TESTED_ON]
        self.test = test[0][chosen] / 255, test[1][chosen]

    def _generator(self) -> torch.Generator:
        return torch.Generator().manual_seed(self._seed)

    @functools.cached_property
    def _perturbed(self) -> dict[str, Tensor]:
        path = self._work / f"release-{self._seed}.safetensors"
        if not path.exists():
            torch.manual_seed(100 + self._seed)
            base = make_network("small-resnet", 1, 10, (28, 28))
            fit(base, (self.plain / 255, self.labels), epochs=EPOCHS, generator=self._generator())
            key = keys.CorrespondenceKey.preset("basic")
            lead = transforms.AdversarialEncrypt(base, key, eps=EPS, step_size=EPS / 5, steps=STEPS)
            made = {}
            for name, images, labels in (
                ("released", self.plain, self.labels),
                ("pairs", self.pairs_plain, self.pairs_labels),
            ):
                parts = zip(images.split(500), labels.split(500), strict=True)
                made[name] = torch.cat([lead.disguise_batch(each, those).images for each, those in parts])
            targets = key.targets[:, 0][self.labels]
            made["moved"] = (predict(base, made["released"] / 255, classes=10) == targets).double().mean()
            safetensors.torch.save_file(made, path)
        return safetensors.torch.load_file(path)

    @property
    def released(self) -> Tensor:
        return self._perturbed["released"]

    def moved(self) -> dict[str, float]:
        """Tell which share of the release the owner's network takes for its targets, and how far the images lie."""
        made = self._perturbed
        distance = distances(self.released / 255, self.plain / 255)
        return {"moved": float(made["moved"]), "mean_distance": float(distance.mean())}

    def train(self, images: Tensor, labels: Tensor | None = None, **options: object) -> Curve:
        """Train a small VGG on uint8 images, or on float ones in 0..1."""
        torch.manual_seed(200 + self._seed)
        network = make_network("small-vgg", 1, 10, (28, 28)).to(memory_format=torch.channels_last)
        data_ = images / 255 if images.dtype == torch.uint8 else images, self.labels if labels is None else labels
        given = {"epochs": EPOCHS, "generator": self._generator(), **options}
        method = attacks.staged_training if "stages" in given else attacks.train_and_watch
        return method(network, data_, self.test, **given)

    def alone(self, count: int) -> Curve:
        """Train on the plain images of some pairs, repeated to as many as are released."""
        times = RELEASED // count
        return self.train(self.pairs_plain[:count].repeat(times, 1, 1, 1), self.pairs_labels[:count].repeat(times))

    def purified(self, images: Tensor, plain: Tensor, disguised: Tensor) -> Tensor:
        return attacks.purify_by_pairs(
            plain / 255,
            disguised / 255,
            images / 255,
            epochs=min(100, TRAINING_STEPS // len(plain)),
            generator=self._generator(),
        ).images

    def probe(self, features_of_them: Tensor, labels: Tensor) -> Curve:
        return attacks.pretrained_probe(
            features_of_them,
            labels,
            (self._test_features, self.test[1]),
            encoder=torch.nn.Flatten(),  # the features are computed once for all probes
            classes=10,
            epochs=EPOCHS,
            generator=self._generator(),
        )

    @functools.cached_property
    def _test_features(self) -> Tensor:
        return self._features(self.test[0])

    @functools.cached_property
    def _released_features(self) -> Tensor:
        return self._features(self.released)

    def probes_of_shuffled(self) -> dict[str, float]:
        """Return means over several orders: whole classes get one answer, so that one order scatters widely."""
        generator, found = self._generator(), []
        for _ in range(ORDERS):
            order = torch.randperm(RELEASED, generator=generator)
            found.append(self.probe(self._released_features, self.labels[order]))
        return {name: sum(getattr(each, name) for each in found) / ORDERS for name in ("last", "peak")}

    @functools.cached_property
    def _encoder(self) -> torch.nn.Module:
        if not is_installed():
            raise SystemExit(f"the linear probe needs {how_to_install()}")
        return PretrainedFeatures()

    @torch.no_grad()
    def _features(self, images: Tensor) -> Tensor:
        unit = images / 255 if images.dtype == torch.uint8 else images
        return torch.cat([self._encoder(part) for part in unit.split(64)])[:, :, None, None]

    @property
    def shuffled(self) -> Tensor:
        return self.labels[torch.randperm(RELEASED, generator=self._generator())]

    def cells(self) -> Iterator[tuple[str, Callable[[], dict[str, float]]]]:
        def told(curve: Callable[[], Curve]) -> Callable[[], dict[str, float]]:
            def both() -> dict[str, float]:
                found = curve()
                return {"last": found.last, "peak": found.peak}

            return both

        yield "the release", self.moved
        yield "released as they are", told(lambda: self.train(self.released))
        yield "linear probe, released", told(lambda: self.probe(self._released_features, self.labels))
        yield "linear probe, plain", told(lambda: self.probe(self._features(self.plain), self.labels))
        yield "staged training, released", told(lambda: self.train(self.released, stages=4))
        for count in reversed(SOME_PAIRS):
            pairs = self.pairs_plain[:count], self._perturbed["pairs"][:count]
            yield (
                f"purifier, {count} pairs, released",
                told(lambda pairs=pairs: self.train(self.purified(self.released, *pairs))),
            )
            yield f"plain images of {count} pairs alone", told(lambda count=count: self.alone(count))
        yield "plain images", told(lambda: self.train(self.plain))
        away = attacks.strong_augmentation(generator=self._generator())
        yield "strong augmentation", told(lambda: self.train(self.released, augment=away))
        yield "JPEG, quality 10", told(lambda: self.train(attacks.squeeze_jpeg(self.released)))
        if self._seed:
            return
        pairs = self.pairs_plain[:100], self.pairs_plain[:100]
        yield "staged training, plain", told(lambda: self.train(self.plain, stages=4))
        yield "purifier, 100 pairs, plain", told(lambda: self.train(self.purified(self.plain, *pairs)))
        yield f"linear probe, labels in {ORDERS} drawn orders", self.probes_of_shuffled
        yield "staged training, shuffled labels", told(lambda: self.train(self.released, self.shuffled, stages=4))
        pairs = self.pairs_plain[:100], self._perturbed["pairs"][:100]
        yield (
            "purifier, 100 pairs, shuffled labels",
            told(lambda: self.train(self.purified(self.released, *pairs), self.shuffled)),
        )


def load(source: str) -> Labelled:
    opened = data.open_source(source)
    samples = [opened[index] for index in range(len(opened))]
    return torch.stack([sample.image for sample in samples]), torch.tensor([sample.label for sample in samples])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for releases")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--only", default="", help="cells whose names contain this")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("countermeasures.json"))
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    cells = Cells(arguments.out)
    train, test = load(f"fashion-mnist:{arguments.root}"), load(f"fashion-mnist:{arguments.root}:test")
    for seed in range(arguments.seeds):
        run = Run(train, test, seed, arguments.work)
        for name, measured in run.cells():
            if arguments.only in name:
                cells.measure(name, seed, measured)


if __name__ == "__main__":
    main()
