"""Guess labels from the cloud's own answers."""

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import (
    require_data,
    require_same_count,
    require_same_size,
    require_scrambled,
    require_vectors,
)
from torchprotect.attacks.images import shrink
from torchprotect.attacks.protocol import Attack, Need, Seen, only_for
from torchprotect.attacks.results import ClassGuesses, Level
from torchprotect.attacks.scores import CLASSES
from torchprotect.errors import InputShapeError, LabelError

_ITERATIONS = 200


def label_probe(vectors: Tensor, labels: Tensor, target: Tensor, *, classes: int, decay: float = 1e-3) -> ClassGuesses:
    """Guess labels from vectors with a linear classifier, trained on a few known labels (level L2).

    A cloud provider has the vectors of all images it was sent, and a few labels leak easily. Any vectors work: the
    cloud's answers, or an encoder's features of scrambled images.

    Cost: ``labels`` known ones, at most ``iterations`` of L-BFGS.

    Args:
        vectors: floating point ``[m, V]``, of images whose labels are known.
        labels: int64 ``[m]``.
        target: floating point ``[N, V]``.
        classes: number of classes.
        decay: weight of the squared weights in the loss.

    References:
        Alain and Bengio, Understanding intermediate layers using linear classifier probes.
    """
    require_int("classes", classes, at_least=2)
    require_vectors("vectors", vectors)
    require_vectors("targets", target)
    require_data("labels", labels)
    require_same_count("vectors", vectors, "labels", labels)
    if vectors.shape[1] != target.shape[1] or labels.dtype != torch.int64 or labels.ndim != 1:
        raise InputShapeError("vectors and targets must have one length, and labels be int64 [m]")
    if int(labels.min()) < 0 or int(labels.max()) >= classes:
        raise LabelError(f"labels must lie in 0..{classes - 1}, but lie in {int(labels.min())}..{int(labels.max())}")
    mean, spread = vectors.double().mean(0), vectors.double().std(0, correction=0).clamp_min(1e-12)
    known, wanted = ((each.double() - mean) / spread for each in (vectors, target))
    weights, bias = _fit(known, labels, classes, decay)
    cost = {"labels": len(labels), "iterations": _ITERATIONS}
    return ClassGuesses(Level.KNOWN_PAIRS, cost, guesses=(wanted @ weights + bias).argmax(1))


def _fit(vectors: Tensor, labels: Tensor, classes: int, decay: float) -> tuple[Tensor, Tensor]:
    weights = torch.zeros(vectors.shape[1], classes, dtype=vectors.dtype, device=vectors.device, requires_grad=True)
    bias = torch.zeros(classes, dtype=vectors.dtype, device=vectors.device, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=_ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimizer.zero_grad()
        total = nn.functional.cross_entropy(vectors @ weights + bias, labels) + decay * weights.square().sum()
        total.backward()
        return total

    optimizer.step(loss)
    return weights.detach(), bias.detach()


_SIDE = 16  # scrambled images are shrunk to this size


def _run(seen: Seen) -> ClassGuesses:
    _, disguised, labels = seen.need(Need.PAIRS)
    if labels is None:
        raise InputShapeError("a label for each known pair is needed")
    require_scrambled("scrambled images of pairs", disguised)
    require_scrambled("scrambled images", seen.disguised)
    require_same_size("scrambled images of pairs", disguised, "scrambled images", seen.disguised)
    vectors, target = (shrink(each, _SIDE) for each in (disguised, seen.disguised))
    return label_probe(vectors, labels, target, classes=seen.classes)


LABEL_PROBE = Attack(
    name="label_probe",
    title="Label probe",
    about="learns classes from a few labelled scrambled images",
    finds="class",
    level=Level.KNOWN_PAIRS,
    run=_run,
    score=CLASSES,
    needs=frozenset({Need.PAIRS, Need.LABELS}),
    reason=only_for("OWSDScramble"),
    any_size=True,
    least_pairs=3,
)
