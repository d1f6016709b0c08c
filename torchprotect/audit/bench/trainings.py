"""Measure utility: train networks on disguised images and on plain ones."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch

from torchprotect import attacks
from torchprotect.attacks import Level
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.report.utility import DISGUISED_TRAINING, PLAIN_TRAINING, Utility
from torchprotect.errors import InputRangeError

Trained = dict[str, float]
"""Accuracies of one network: ``accuracy`` on images of its own kind; ``crossed`` on plain ones, if requested."""


class Training(NamedTuple):
    """A training to run, and the knowledge it requires."""

    level: Level
    run: Callable[[], Trained]


def trainings(bench: Bench) -> dict[str, Training]:
    """Return the trainings to do, by name."""
    evidence = bench.evidence
    todo: dict[str, Training] = {}
    for number in range(bench.settings.trainings if evidence.classes_present > 1 else 0):
        if evidence.plain is not None and evidence.plain_labels is not None:
            todo[f"{PLAIN_TRAINING} {number + 1}"] = Training(Level.PUBLIC_DATA, partial(_train_plain, bench, number))
        if evidence.labels is not None:
            run = partial(_train_disguised, bench, number)
            todo[f"{DISGUISED_TRAINING} {number + 1}"] = Training(Level.CIPHERTEXT_ONLY, run)
    return todo


def gather(bench: Bench, done: dict[str, Trained]) -> Utility | None:
    """Combine the accuracies; ``None`` if there are no labels to train with."""
    labels = bench.evidence.labels
    if not done:
        return None
    written = None if labels is None else labels[bench.split.attacked.to(labels.device)]
    chance = None if written is None else float(written.bincount().max()) / len(written)
    return Utility(
        plain=tuple(each["accuracy"] for name, each in done.items() if name.startswith(PLAIN_TRAINING)),
        disguised=tuple(each["accuracy"] for name, each in done.items() if name.startswith(DISGUISED_TRAINING)),
        crossed=tuple(each["crossed"] for each in done.values() if "crossed" in each),
        chance=chance,
        trained=_images(bench),
        epochs=bench.settings.epochs_over(_images(bench)),
        tested=len(bench.split.attacked),
    )


def _images(bench: Bench) -> int:
    """Return the number of training images of every network: kinds of images are compared, not numbers of them."""
    known = len(bench.split.public) if bench.evidence.plain_labels is not None else 0
    return min(bench.settings.train_images, len(bench.split.others), known or len(bench.split.others))


def _train_plain(bench: Bench, number: int) -> Trained:
    known = len(bench.split.public)
    if not known:
        raise InputRangeError("no public image is left to train on")
    if number == 0 and _images(bench) == min(bench.settings.train_images, known):
        return {"accuracy": bench.clean_accuracy}  # of the examiner, which is this very network
    indices = bench.split.public[: _images(bench)]
    model = bench.train(number, bench.plain(indices), bench.plain_labels(indices))
    clean = bench.split.clean
    return {"accuracy": attacks.score_classes(model.predict(bench.plain(clean)), bench.plain_labels(clean)).accuracy}


def _train_disguised(bench: Bench, number: int) -> Trained:
    evidence = bench.evidence
    if evidence.labels is None:
        raise InputRangeError("the export has no labels to train on")
    home = evidence.labels.device
    others, attacked = (each.to(home) for each in (bench.split.others, bench.split.attacked))
    others = others[: _images(bench)]
    model = bench.train(number, bench.disguised(others), evidence.labels[others])
    written = evidence.labels[attacked]
    found = {"accuracy": attacks.score_classes(model.predict(bench.disguised(attacked)), written).accuracy}
    if (
        evidence.pairing is not None
        and evidence.plain is not None
        and evidence.plain.shape[1:] == evidence.disguised.shape[1:]
    ):
        plain = bench.truth(attacked)
        plain = plain.to(evidence.disguised.dtype) if plain.dtype == torch.uint8 else plain
        found["crossed"] = attacks.score_classes(model.predict(plain), written).accuracy
    return found
