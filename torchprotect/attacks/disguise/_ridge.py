"""Ridge regression of whole plain images on disguised ones, without knowledge of the disguise."""

import functools
import math

import torch
from torch import Tensor

from torchprotect.attacks._inputs import generator_on

_STRENGTHS = [10.0**power for power in range(-7, 5)]  # of the penalty, in mean eigenvalues
_MIXTURES = 64
_FLOOR = 0.1  # smallest divisor: inputs that hardly vary among the known images must not dominate in others
_COLUMNS_AT_ONCE = 1024  # bounds the memory


class ImageRidge:
    """The map from disguised to plain images that predicts held-out pairs best.

    It is linear, or of second order, in the values of the disguised pixels or, for bytes, in their bits, whichever has
    the least leave-one-out error. The error is measured on random mixtures of pixels.

    Args:
        disguised: ``[N, C, H, W]``.
        plain: float64 ``[N, pixels]``.
        generator: draws the mixtures.
    """

    def __init__(self, disguised: Tensor, plain: Tensor, generator: torch.Generator | None) -> None:
        self._disguised = disguised
        self._mean = plain.mean(0)
        self._plain = plain - self._mean
        draws = generator_on(plain.device, generator)
        mixed = self._plain @ torch.randn(
            plain.shape[1], _MIXTURES, dtype=plain.dtype, generator=draws, device=plain.device
        )
        self._least = math.inf
        for bits in (False, True) if disguised.dtype == torch.uint8 else (False,):
            likeness = _kernel(disguised, disguised, bits)
            for order in (1, 2):
                self._consider(likeness, mixed, bits, order)

    def _consider(self, likeness: Tensor, mixed: Tensor, bits: bool, order: int) -> None:
        values, vectors = torch.linalg.eigh((1 + likeness) ** order)
        values = values.clamp(min=0)
        for strength in _STRENGTHS:
            penalised = (values + strength * values.mean()).reciprocal()
            error = error_at_left_out(mixed, vectors, values * penalised)
            if error < self._least:
                self._least, self._bits, self._order = error, bits, order
                self._vectors, self._penalised, self._share = vectors, penalised, values * penalised

    def of_known(self, folds: tuple[Tensor, ...]) -> Tensor:
        """Return the prediction for each known image, ``[N, pixels]``, fitted without the image's fold.

        Args:
            folds: int64 indices, each image in one of them.
        """
        hat = self._vectors * self._share @ self._vectors.T
        wrong = self._plain - hat @ self._plain
        made = torch.empty_like(self._plain)
        for fold in folds:
            inner = torch.eye(len(fold), dtype=hat.dtype, device=hat.device) - hat[fold][:, fold]
            made[fold] = self._plain[fold] - torch.linalg.solve(inner, wrong[fold])
        return made + self._mean

    def of_new(self, disguised: Tensor) -> Tensor:
        """Return the predictions for other images: ``[N, pixels]``."""
        likeness = (1 + _kernel(disguised, self._disguised, self._bits)) ** self._order
        return likeness @ self._weights + self._mean

    @functools.cached_property
    def _weights(self) -> Tensor:
        return self._vectors @ (self._penalised[:, None] * (self._vectors.T @ self._plain))


def error_at_left_out(wanted: Tensor, vectors: Tensor, share: Tensor) -> float:
    """Return the mean squared error at each image when it is left out of the fit."""
    made = vectors @ (share[:, None] * (vectors.T @ wanted))
    own = (vectors.square() * share).sum(1, keepdim=True)
    return float(((wanted - made) / (1 - own).clamp(min=1e-12)).square().mean())


def _kernel(images: Tensor, known: Tensor, bits: bool) -> Tensor:
    """Return mean products of features, each scaled to the mean and spread of the known images: ``[N, known]``."""
    floor = _FLOOR * (1.0 if bits else float(known.double().std(correction=0)) or 1.0)
    total, count = torch.zeros((), dtype=torch.float64, device=known.device), 0
    for part, reference in zip(*(x.flatten(1).split(_COLUMNS_AT_ONCE, 1) for x in (images, known)), strict=True):
        of_known, features = _features(reference, bits), _features(part, bits)
        mean, spread = of_known.mean(0), of_known.std(0, correction=0) + floor
        total = total + ((features - mean) / spread) @ ((of_known - mean) / spread).T
        count += features.shape[1]
    return total / count


def _features(pixels: Tensor, bits: bool) -> Tensor:
    if not bits:
        return pixels.double()
    shifts = torch.arange(8, dtype=torch.uint8, device=pixels.device)
    return ((pixels[:, :, None] >> shifts) & 1).flatten(1).double() * 2 - 1
