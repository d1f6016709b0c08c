"""Remove noise from rebuilt images, using the statistics of public images."""

import torch
from torch import Tensor

from torchprotect.attacks.disguise._moments import Moments


class Shrinkage:
    """The linear estimate of images from noisy ones with the least squared error (Wiener filter).

    With covariance C of noisy images and noise of variance v, it subtracts v C^-1 times the deviation from the mean. C
    comes from the moments: exact within each line, by the factors between lines. The Woodbury identity keeps the
    equations small.

    Args:
        moments: moments of public lines, including noise.
        variance: variance of the noise of each pixel.
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
