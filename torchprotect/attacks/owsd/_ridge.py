"""Ridge regression, with the strength chosen by leave-one-out validation."""

from dataclasses import dataclass

import torch
from torch import Tensor

_STRENGTHS = torch.logspace(-6, 3, 19, dtype=torch.float64)  # of the largest eigenvalue
_LEFT_OUT = 512  # samples that are left out in turn, at most
_RANK = 1e-12  # of the largest eigenvalue; what lies below is rounding


@dataclass(frozen=True, eq=False, repr=False)
class Ridge:
    """A fitted linear map.

    Attributes:
        input_mean: ``[D]``.
        basis: ``[D, r]``, orthonormal directions of the inputs.
        coefficients: ``[r, K]``.
        mean: ``[K]``, of the outputs.
        explained: share of the outputs' variance that is predicted for held-out samples; 0 or less if nothing is.
    """

    input_mean: Tensor
    basis: Tensor
    coefficients: Tensor
    mean: Tensor
    explained: float

    def __call__(self, inputs: Tensor) -> Tensor:
        """Predict outputs ``[N, K]`` of float64 inputs ``[N, D]``."""
        return ((inputs - self.input_mean) @ self.basis).to(self.mean.dtype) @ self.coefficients + self.mean


def fit_ridge(inputs: Tensor, outputs: Tensor) -> Ridge:
    """Fit outputs to inputs; the strength of regularisation is chosen by leave-one-out validation.

    Cost: one eigendecomposition, of the smaller of ``[n, n]`` and ``[D, D]``.

    Args:
        inputs: float64 ``[n, D]``, n at least 3.
        outputs: floating point ``[n, K]``; sums over samples are in its dtype.
    """
    input_mean, mean = inputs.mean(0), outputs.mean(0)
    centred, wanted = inputs - input_mean, outputs - mean
    values, basis, scores = _principal(centred)
    rotated = scores.to(outputs.dtype).T @ wanted
    rows = torch.linspace(0, len(inputs) - 1, min(_LEFT_OUT, len(inputs))).round().long().to(inputs.device)
    errors = {
        float(strength): left_out(values, scores[rows], rotated, wanted[rows], float(strength), len(inputs))
        for strength in _STRENGTHS * float(values.max() if len(values) else 0)
    }
    best = min(errors, key=lambda strength: errors[strength])
    spread = float(wanted[rows].double().square().mean())
    explained = 1 - errors[best] / spread if spread > 0 else 0.0
    return Ridge(input_mean, basis, rotated / (values + best)[:, None].to(outputs.dtype), mean, explained)


def _principal(centred: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return eigenvalues of the scatter ``[r]``, its directions ``[D, r]``, and the samples along them ``[n, r]``."""
    dual = len(centred) < centred.shape[1]
    values, vectors = torch.linalg.eigh(centred @ centred.T if dual else centred.T @ centred)
    kept = values > _RANK * values[-1].clamp_min(0)
    values, vectors = values[kept], vectors[:, kept]
    if not dual:
        return values, vectors, centred @ vectors
    return values, centred.T @ (vectors / values.sqrt()), vectors * values.sqrt()


def left_out(values: Tensor, scores: Tensor, rotated: Tensor, wanted: Tensor, strength: float, fitted: int) -> float:
    """Return the mean squared error of samples that are predicted from all others, in closed form.

    The means are left out too: without their share, ``1 / fitted``, interpolation would seem to have no error.

    Args:
        values: eigenvalues ``[r]``.
        scores: some samples along the directions ``[n, r]``.
        rotated: ``[r, K]``, products of the scores and outputs of all samples.
        wanted: centred outputs of some samples ``[n, K]``.
        strength: added to the eigenvalues.
        fitted: total number of samples.
    """
    shrunk = 1 / (values + strength)
    residual = wanted - scores.to(wanted.dtype) @ (shrunk.to(wanted.dtype)[:, None] * rotated)
    leverage = 1 - 1 / fitted - (scores.square() * shrunk).sum(1, keepdim=True)
    return float((residual.double() / leverage.clamp_min(1e-12)).square().mean())
