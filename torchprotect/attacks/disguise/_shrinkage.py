"""Noise taken out of rebuilt images, by what public images look like."""

import torch
from torch import Tensor

from torchprotect.attacks.disguise._moments import Moments


class Shrinkage:
    """The linear estimate of images from noisy ones that has the least squared error (Wiener filter).

    With covariance C of noisy images and noise of variance v, it takes v C^-1 of a deviation from the mean off. C is
    that of the moments: within each line as it is, between lines by the factors. The Woodbury identity keeps the
    equations small.

    Args:
        moments: of public lines, noise counted in.
        variance: of the noise of each pixel.
    """

    def __init__(self, moments: Moments, variance: float) -> None:
        self._variance = variance
        self._means = moments.means.double()
        factors = moments.factors.double()
        squares, directions = torch.linalg.eigh(moments.own.double())
        scaled = directions * squares.clamp(min=variance).reciprocal()[..., None, :]
        self._within = scaled @ directions.mT  # [groups, lines, length, length]
        self._factors = factors
        inner = torch.eye(len(factors)).to(factors) + self._products(factors, self._of_lines(factors))
        self._inner = torch.linalg.inv(inner)

    def __call__(self, lines: Tensor) -> Tensor:
        """Return the estimate of plain lines ``[groups, N, lines, length]`` from noisy ones."""
        apart = (lines.double() - self._means[:, None]).movedim(1, 0)
        near = self._of_lines(apart)
        weights = self._products(near, self._factors) @ self._inner
        far = self._of_lines(torch.einsum("nk,kgia->ngia", weights, self._factors))
        return lines - self._variance * (near - far).movedim(0, 1).to(lines)

    def _of_lines(self, values: Tensor) -> Tensor:
        return torch.einsum("ngia,giab->ngib", values, self._within)

    @staticmethod
    def _products(one: Tensor, other: Tensor) -> Tensor:
        return one.flatten(1) @ other.flatten(1).mT
