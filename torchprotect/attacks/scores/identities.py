"""Find images that are equal pixel by pixel."""

import hashlib

import torch
from torch import Tensor


def identities(images: Tensor) -> Tensor:
    """Number images so that equal ones share a number: int64 ``[N]`` on the CPU, from 0 in the order they appear.

    Args:
        images: ``[N, ...]``, uint8 or floating point.
    """
    numbers: dict[bytes, int] = {}
    found = [numbers.setdefault(each, len(numbers)) for each in pixel_digests(images)]
    return torch.tensor(found, dtype=torch.int64)


def pixel_digests(images: Tensor) -> list[bytes]:
    """Return the SHA-256 of the pixels of each image ``[N, ...]``."""
    rows = images.detach().cpu().contiguous().flatten(1)
    rows = rows + 0.0 if rows.is_floating_point() else rows  # -0.0 equals 0.0, but has other bytes
    return [hashlib.sha256(row.numpy().data).digest() for row in rows.view(torch.uint8)]


def most_frequent(numbers: Tensor) -> float:
    """Return the share of the most frequent number, which is what always naming it reaches."""
    return float(numbers.unique(return_counts=True)[1].max()) / len(numbers)
