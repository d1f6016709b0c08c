"""Ridge regression on random features."""

import math

import torch
from torch import Tensor

from torchprotect.attacks._inputs import generator_on
from torchprotect.attacks.disguise._ridge import error_at_left_out

_FEATURES = 2000
_WEIGHT = 1.5  # standard deviation of a feature's input, relative to 1 for its constant
_FLOOR = 0.1  # smallest divisor: inputs that hardly vary among the known images must not dominate in others
_STRENGTHS = [10.0 ** (power / 2) for power in range(-6, 7)]  # of the penalty, in mean eigenvalues
_RANK = 1e-10  # eigenvalues below this part of the largest are rounding errors


class RandomFeatureRidge:
    """A network with one hidden layer: the first layer is random, the second is a ridge regression.

    One decomposition serves all outputs and all strengths of the penalty. The cost grows with the number of images and
    the third power of the number of features (2,000), or of images if they are fewer.

    Args:
        known: descriptions of the known examples, float32 ``[N, D]``.
        new: descriptions of the examples to predict, ``[M, D]``.
        generator: draws the first layer.

    References:
        Rahimi, Recht: Random Features for Large-Scale Kernel Machines, NIPS 2007.
    """

    def __init__(self, known: Tensor, new: Tensor, generator: torch.Generator | None) -> None:
        first, second = _hidden(known, new, generator_on(known.device, generator))
        self._values, scaled = _decomposed(first)
        # the last direction is the constant, which is not shrunk
        self._known, self._new = (
            torch.nn.functional.pad(rows @ scaled, (0, 1), value=len(known) ** -0.5) for rows in (first, second)
        )

    def best_shares(self, wanted: Tensor) -> Tensor:
        """Return how much to shrink each direction, chosen by leave-one-out validation on the known examples.

        Args:
            wanted: outputs of the known examples, or mixtures of them, float64 ``[N, K]``.
        """
        penalties = [strength * self._values.mean() for strength in _STRENGTHS]
        shares = [torch.nn.functional.pad(self._values / (self._values + each), (0, 1), value=1) for each in penalties]
        return min(shares, key=lambda share: error_at_left_out(wanted, self._known, share))

    def of_new(self, wanted: Tensor, shares: Tensor) -> Tensor:
        """Predict the outputs of the new examples, ``[M, K]``.

        Args:
            wanted: outputs of the known examples, float64 ``[N, K]``.
            shares: from :meth:`best_shares`.
        """
        return self._new @ (shares[:, None] * (self._known.T @ wanted))


def _decomposed(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared singular values of rows ``[N, K]`` that are not 0, and what maps rows to orthonormal columns.

    The smaller one of the two products of the rows with themselves is decomposed: both have these values.
    """
    few = len(rows) < rows.shape[1]
    values, directions = torch.linalg.eigh(rows @ rows.T if few else rows.T @ rows)
    kept = values > _RANK * values[-1]
    values, directions = values[kept], directions[:, kept]
    return values, rows.T @ (directions / values) if few else directions / values.sqrt()


def _hidden(known: Tensor, new: Tensor, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
    """Return rectified random mixtures of standardised numbers, centred at the mean of the known ones, float64."""
    mean, spread = known.mean(0), known.std(0, correction=0) + _FLOOR
    count = known.shape[1]
    weights, constants = (
        torch.randn(sizes, generator=generator, device=known.device) for sizes in ((count, _FEATURES), (_FEATURES,))
    )
    weights *= _WEIGHT / math.sqrt(count)
    first, second = (((each - mean) / spread @ weights + constants).relu().double() for each in (known, new))
    centre = first.mean(0)
    return first - centre, second - centre
