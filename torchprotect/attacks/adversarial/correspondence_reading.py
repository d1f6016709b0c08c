"""Read the secret map from classes to targets in one pass over some images.

Both readings are hypotheses of this package, not of a paper: they assume that perturbations mean the same to different
networks. A class is never guessed as its own target.
"""

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import require_every_class, require_labelled
from torchprotect.attacks.adversarial._released import (
    FOR_PERTURBED,
    NEEDS,
    TRAINING,
    own_for_tests,
    released,
    surrogate,
    targets_per_class,
    victim,
)
from torchprotect.attacks.adversarial.correspondence import margin, rank
from torchprotect.attacks.protocol import Attack, Seen
from torchprotect.attacks.results import Level, ReadingResult
from torchprotect.attacks.scores import CORRESPONDENCE
from torchprotect.errors import InputRangeError, InputShapeError
from torchprotect.training import predict


def read_correspondence_from_victim(
    victim: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    classes: int,
    targets: int = 1,
    natural: Tensor | None = None,
    batch_size: int = 256,
) -> ReadingResult:
    """Read a correspondence from the victim's mistakes on clean images: an attacker with public data (level L1).

    Hypothesis: released images of class y carry weak features of their target P(y). The victim has therefore learned to
    call such features y, and often calls clean images of class P(y) y. The score of candidate t for class y is the
    share of clean images of class t that the victim calls y, minus the natural confusion.

    Cost: ``queries``, one for each image. No gradients, no second classifier.

    Args:
        victim: a classifier trained on the released data.
        images: the attacker's own labelled clean images, floating point ``[N, C, H, W]``.
        labels: int64 ``[N]``, at least one image of each class.
        classes: number of classes.
        targets: number of targets to guess for each class.
        natural: natural confusion, ``[classes, classes]``, which is subtracted: the ``confusion`` of a clean classifier
            on clean images.
        batch_size: images per batch.

    Raises:
        InputRangeError: a class has no image, or more targets are asked for than there are other classes.
        LabelError: a label is not a class.
        ModelError: the model returns something other than scores ``[N, classes]``.
    """
    confusion = _confusion(victim, images, labels, classes, targets, batch_size)
    return _read(confusion, (confusion - _natural(natural, classes)).T, targets, len(images))


def read_correspondence_from_data(
    surrogate: nn.Module,
    disguised: Tensor,
    labels: Tensor,
    *,
    classes: int,
    targets: int = 1,
    natural: Tensor | None = None,
    batch_size: int = 256,
) -> ReadingResult:
    """Read a correspondence from the released images: an attacker with public data (level L1).

    Hypothesis: perturbations transfer from one network to another. A classifier trained on clean images, where it is
    wrong about released images of class y, therefore often answers with their target P(y). The score of candidate t for
    class y is the share of released images of class y that the classifier calls t, minus the natural confusion.

    Cost: ``queries``, one for each image, to the attacker's own classifier. No victim, no gradients.

    Args:
        surrogate: a classifier trained on clean images of the same kind.
        disguised: released images, floating point ``[N, C, H, W]``.
        labels: int64 ``[N]``, their released labels, at least one image of each class.
        classes: number of classes.
        targets: number of targets to guess for each class.
        natural: natural confusion, ``[classes, classes]``, which is subtracted: the ``confusion`` of a clean classifier
            on clean images.
        batch_size: images per batch.

    Raises:
        InputRangeError: a class has no image, or more targets are asked for than there are other classes.
        LabelError: a label is not a class.
        ModelError: the model returns something other than scores ``[N, classes]``.
    """
    confusion = _confusion(surrogate, disguised, labels, classes, targets, batch_size)
    return _read(confusion, confusion - _natural(natural, classes), targets, len(disguised))


def _confusion(model: nn.Module, images: Tensor, labels: Tensor, classes: int, targets: int, batch_size: int) -> Tensor:
    require_int("classes", classes, at_least=2)
    require_labelled(images, labels, classes)
    require_every_class(labels, classes)
    require_int("batch_size", batch_size, at_least=1)
    require_int("targets", targets, at_least=1)
    if targets >= classes:
        raise InputRangeError(f"{targets} targets other than the class itself need more than {classes} classes")
    answers = predict(model, images, classes=classes, batch_size=batch_size)
    counts = (labels * classes + answers).bincount(minlength=classes**2).reshape(classes, classes).double().cpu()
    return counts / counts.sum(1, keepdim=True)


def _natural(given: Tensor | None, classes: int) -> Tensor:
    if given is None:
        return torch.zeros(classes, classes, dtype=torch.float64)
    if given.shape != (classes, classes):
        raise InputShapeError(f"natural confusions must be [{classes}, {classes}], not {list(given.shape)}")
    if not bool((given >= 0).all() and (given <= 1).all()):
        raise InputRangeError("natural confusions are shares in 0..1, such as a result's confusion")
    return given.double().cpu()


def _read(confusion: Tensor, scores: Tensor, targets: int, queries: int) -> ReadingResult:
    scores = scores.clone().fill_diagonal_(torch.nan)
    order = rank(scores)
    return ReadingResult(
        Level.PUBLIC_DATA,
        {"queries": queries},
        guesses=order[:, :targets],
        scores=scores,
        ranking=order,
        margins=margin(scores, order, targets),
        confusion=confusion,
    )


def _run_on_victim(seen: Seen) -> ReadingResult:
    classes, own = seen.classes, own_for_tests(seen)
    natural = read_correspondence_from_data(surrogate(seen), *own, classes=classes).confusion
    targets = targets_per_class(seen.scheme)
    return read_correspondence_from_victim(victim(seen), *own, classes=classes, targets=targets, natural=natural)


def run_on_data(seen: Seen) -> ReadingResult:
    """Read a release with a classifier trained on the attacker's own plain images."""
    classes, classifier = seen.classes, surrogate(seen)
    natural = read_correspondence_from_data(classifier, *own_for_tests(seen), classes=classes).confusion
    targets = targets_per_class(seen.scheme)
    return read_correspondence_from_data(classifier, *released(seen), classes=classes, targets=targets, natural=natural)


READING_OF_VICTIM = Attack(
    name="read_correspondence_from_victim",
    title="Correspondence read from a trained network",
    about="reads targets from the mistakes that a network trained on the release makes on plain images",
    finds="key",
    level=Level.PUBLIC_DATA,
    run=_run_on_victim,
    score=CORRESPONDENCE,
    needs=NEEDS,
    reason=FOR_PERTURBED,
    long=TRAINING,
)

READING_OF_DATA = Attack(
    name="read_correspondence_from_data",
    title="Correspondence read from the images",
    about="reads targets from the mistakes that a network trained on plain images makes on released ones",
    finds="key",
    level=Level.PUBLIC_DATA,
    run=run_on_data,
    score=CORRESPONDENCE,
    needs=NEEDS,
    reason=FOR_PERTURBED,
    long=TRAINING,
)
