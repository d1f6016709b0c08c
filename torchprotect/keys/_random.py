"""Random numbers for keys, from the operating system's entropy only: no PRNG of torch, NumPy or Python."""

import os

import numpy as np
import torch
from torch import Tensor


def random_bytes(*shape: int) -> Tensor:
    """Return uint8 of the given shape."""
    count = int(np.prod(shape))
    return torch.frombuffer(bytearray(os.urandom(count)), dtype=torch.uint8).reshape(shape)


def random_permutation(n: int) -> Tensor:
    """Return a uniformly random permutation of ``range(n)``, int64: the ranks of distinct random words."""
    while True:
        words = np.frombuffer(os.urandom(8 * n), dtype=np.uint64)
        if len(np.unique(words)) == n:  # ties would favour some orders; the chance of one is n^2 / 2^64
            return torch.from_numpy(np.argsort(words).astype(np.int64))


def random_uniform(*shape: int) -> Tensor:
    """Return float64 in (0, 1): multiples of 2^-53 plus half a step, so that 0 never occurs."""
    words = np.frombuffer(os.urandom(8 * int(np.prod(shape))), dtype=np.uint64)
    return torch.from_numpy(((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53).reshape(shape)


def random_normal(*shape: int) -> Tensor:
    """Return standard normal float64 by the Box-Muller method."""
    radius, angle = random_uniform(2, *shape)
    return (-2.0 * radius.log()).sqrt() * (2.0 * torch.pi * angle).cos()
