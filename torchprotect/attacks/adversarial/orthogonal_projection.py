"""Remove from images what a linear classifier reads in them."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from torchprotect._inputs import require_int, require_number
from torchprotect.attacks._inputs import require_labelled, require_pictures
from torchprotect.attacks.adversarial._released import released
from torchprotect.attacks.adversarial.train_and_watch import train_on, training_attack
from torchprotect.attacks.protocol import Seen
from torchprotect.attacks.results import AttackResult, Level, NetworkResult
from torchprotect.errors import InputShapeError

_RANK = 1e-5  # directions with less than this part of the largest singular value are rounding errors


@dataclass(frozen=True, eq=False, repr=False)
class OrthogonalProjectionResult(AttackResult):
    """Images after everything that a linear classifier reads was removed from them.

    Attributes:
        images: like the given ones; pixels may leave 0..1.
        basis: ``[directions, C, H, W]``, the orthonormal patterns that were removed; at most classes - 1.
        linear_accuracy: accuracy of the linear classifier on the given images, to which it was fitted.
        remaining_accuracy: accuracy of the same classifier on the projected images; its scores are constant there.
    """

    images: Tensor
    basis: Tensor = field(metadata={"json": False})
    linear_accuracy: float
    remaining_accuracy: float

    def project(self, images: Tensor) -> Tensor:
        """Remove the same patterns from other images ``[N, C, H, W]``."""
        require_pictures(images)
        if images.shape[1:] != self.basis.shape[1:]:
            raise InputShapeError(f"images must be {list(self.basis.shape[1:])}, not {list(images.shape[1:])}")
        return _without(images, self.basis.to(images))


def orthogonal_projection(
    images: Tensor,
    labels: Tensor,
    *,
    classes: int,
    steps: int = 200,
    weight_decay: float = 1e-4,
) -> OrthogonalProjectionResult:
    """Remove from released images everything that a linear classifier reads: released data only (level L0).

    A softmax classifier is fitted to the pixels. The images are then projected onto the orthogonal complement of the
    space that its weights span. This works on perturbations that are the same for a whole class; perturbations that
    depend on the image need not be linear.

    Cost: ``passes`` (evaluations of the linear classifier and its gradient on all images, a matrix product each).

    Args:
        images: released images, floating point ``[N, C, H, W]``.
        labels: int64 ``[N]``, their released labels.
        classes: number of classes.
        steps: largest number of L-BFGS iterations; the paper trains by stochastic gradient descent.
        weight_decay: half of it times the squared weights is added to the loss.

    Raises:
        InputRangeError: a setting is invalid.
        LabelError: a label is not a class.

    References:
        Sandoval-Segura et al., What Can We Learn from Unlearnable Datasets? (arXiv 2305.19254).
    """
    require_int("classes", classes, at_least=2)
    require_labelled(images, labels, classes)
    require_int("steps", steps, at_least=1)
    require_number("weight_decay", weight_decay, at_least=0)
    pixels = images.detach().flatten(1).to(torch.promote_types(images.dtype, torch.float32))
    weights, bias, passes = _fit(pixels, labels, classes, steps, weight_decay)
    # use only differences of columns: a direction that all scores share does not affect the decision
    directions, sizes, _ = torch.linalg.svd(weights - weights.mean(1, keepdim=True), full_matrices=False)
    basis = directions[:, sizes > _RANK * sizes[0]].T.reshape(-1, *images.shape[1:])
    clean = _without(images.detach(), basis.to(images.dtype))
    accuracies = [
        float(((each @ weights + bias).argmax(1) == labels).double().mean()) for each in (pixels, _flat(clean))
    ]
    return OrthogonalProjectionResult(Level.CIPHERTEXT_ONLY, {"passes": passes}, clean, basis, *accuracies)


def _fit(
    pixels: Tensor,
    labels: Tensor,
    classes: int,
    steps: int,
    weight_decay: float,
) -> tuple[Tensor, Tensor, int]:
    """Return weights ``[features, classes]``, bias and the number of evaluations."""
    weights = pixels.new_zeros(pixels.shape[1], classes, requires_grad=True)
    bias = pixels.new_zeros(classes, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [weights, bias], max_iter=steps, max_eval=2 * steps, history_size=20, line_search_fn="strong_wolfe"
    )
    passes = 0

    def loss() -> Tensor:
        nonlocal passes
        passes += 1
        optimizer.zero_grad()
        value = torch.nn.functional.cross_entropy(pixels @ weights + bias, labels)
        value = value + weight_decay / 2 * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weights.detach(), bias.detach(), passes


def _without(images: Tensor, basis: Tensor) -> Tensor:
    flat = basis.flatten(1)
    pixels = images.flatten(1)
    return (pixels - pixels @ flat.T @ flat).reshape(images.shape)


def _flat(images: Tensor) -> Tensor:
    return images.flatten(1).to(torch.promote_types(images.dtype, torch.float32))


def _run(seen: Seen) -> NetworkResult:
    return train_on(seen, orthogonal_projection(*released(seen), classes=seen.classes).images)


ORTHOGONAL_PROJECTION = training_attack(
    "orthogonal_projection",
    "Training after orthogonal projection",
    "removes from the released images what a linear classifier reads, then trains",
    _run,
)
