"""Guessed classes: how many are right, by chance, and on plain images."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from torchprotect import attacks
from torchprotect.attacks import ShareScore
from torchprotect.attacks.results import ClassGuesses
from torchprotect.attacks.disguise._score import score_balanced_classes
from torchprotect.audit._bench import Bench
from torchprotect.audit._renaming import best_renaming

_SHUFFLES = 10


class ClassScores(NamedTuple):
    """Guesses scored in two ways: rare classes count little in the first, as much as others in the second."""

    accuracy: ShareScore
    balanced: ShareScore


def score_guesses(bench: Bench, result: ClassGuesses, indices: Tensor) -> ClassScores:
    """Count right classes of disguised images; where their plain classes are not known, after the best renaming."""
    if bench.evidence.pairing is not None:
        return _score(result, bench.plain_labels(bench.evidence.pairing[indices.to(result.guesses.device)]))
    assert bench.evidence.labels is not None  # noqa: S101 - each check has asked for labels
    written = bench.evidence.labels[indices.to(result.guesses.device)]
    found = _score_renamed(result, written, bench.evidence.classes)
    chances = _chances(bench, result, written)
    return ClassScores(*(replace(score, chance=chance) for score, chance in zip(found, chances, strict=True)))


def best_on_plain(bench: Bench, indices: Tensor) -> list[tuple[float, str]]:
    """Return the most that is reached on the plain versions of disguised images, and by what, for each score.

    Where pairs are not known it is measured on plain images that were held out.
    """
    places = torch.arange(len(bench.split.clean)) if bench.evidence.pairing is None else bench.split.places(indices)
    labels = bench.plain_labels(bench.split.clean[places])
    scored = {
        name: _score(replace(found, guesses=found.guesses[places.to(found.guesses.device)]), labels)
        for name, found in bench.guesses_on_plain.items()
    }
    return [max((score[way].accuracy, name) for name, score in scored.items()) for way in range(2)]


def _score(result: ClassGuesses, labels: Tensor) -> ClassScores:
    return ClassScores(attacks.score_classes(result, labels), score_balanced_classes(result, labels))


def _score_renamed(result: ClassGuesses, written: Tensor, classes: int) -> ClassScores:
    return _score(replace(result, guesses=best_renaming(result.guesses, written, classes)), written)


def _chances(bench: Bench, result: ClassGuesses, written: Tensor) -> list[float]:
    """Return what the guesses give in a drawn order: the best renaming finds some agreement in anything."""
    generator = bench.generator("shuffled guesses")
    drawn = [torch.randperm(len(written), generator=generator).to(written.device) for _ in range(_SHUFFLES)]
    shuffled = [replace(result, guesses=result.guesses[order]) for order in drawn]
    scores = [_score_renamed(each, written, bench.evidence.classes) for each in shuffled]
    return [sum(each[way].accuracy for each in scores) / _SHUFFLES for way in range(2)]
