"""Exact lookup of byte rows, in many groups at once."""

import torch
from torch import Tensor


class RowBook:
    """Number the distinct rows of each group, and find other rows among them.

    Rows are read eight bytes at a time. Each step replaces the bytes read so far by a number, so that nothing is hashed
    and different rows never collide.

    Args:
        rows: ``[groups, rows, length]``, any dtype; equal means equal in every byte.

    Attributes:
        numbers: int64 ``[groups, rows]`` in ``0..count - 1``: equal for equal rows of one group.
        count: number of distinct rows, over all groups.
    """

    def __init__(self, rows: Tensor) -> None:
        self._steps: list[tuple[Tensor, Tensor]] = []
        numbers = _groups(rows)
        for word in _words(rows):
            values, narrow = word.unique(return_inverse=True)
            joined, numbers = (numbers * len(values) + narrow).unique(return_inverse=True)
            self._steps.append((values, joined))
        self.numbers, self.count = numbers, len(joined)

    def find(self, rows: Tensor) -> Tensor:
        """Return the number of each row ``[groups, rows, length]`` in its group; -1 for an unknown row."""
        numbers = _groups(rows)
        for (values, joined), word in zip(self._steps, _words(rows), strict=True):
            narrow = _find(values, word)
            numbers = _find(joined, torch.where(narrow < 0, -1, numbers * len(values) + narrow))
        return numbers


def most_frequent(numbers: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return, for each number, an index where its most frequent value is, and how many distinct values it has.

    Args:
        numbers: int64 ``[n]``; every number from 0 to the largest occurs.
        values: int64 ``[n]``, from 0 up; of equally frequent ones the smallest is taken.

    Returns:
        Two tensors, int64 ``[numbers]``.
    """
    count = int(values.max()) + 1
    pairs, inverse, frequency = (numbers * count + values).unique(return_inverse=True, return_counts=True)
    number = pairs // count
    by_frequency = frequency.argsort(descending=True, stable=True)
    ranked = by_frequency[number[by_frequency].argsort(stable=True)]
    different = number.bincount()
    best = ranked[different.cumsum(0) - different]
    index = torch.empty_like(pairs).scatter_(0, inverse, torch.arange(len(inverse), device=inverse.device))
    return index[best], different


def _groups(rows: Tensor) -> Tensor:
    return torch.arange(len(rows), device=rows.device)[:, None].expand(rows.shape[:2])


def _words(rows: Tensor) -> tuple[Tensor, ...]:
    """Read rows as int64, eight bytes each, the last one filled up with zeros."""
    read = rows.contiguous().view(torch.uint8)
    length = read.shape[-1]
    padded = read.new_zeros(*read.shape[:-1], -(-length // 8) * 8)
    padded[..., :length] = read
    return padded.view(torch.int64).unbind(-1)


def _find(values: Tensor, wanted: Tensor) -> Tensor:
    """Return the index in sorted ``values`` of each of ``wanted``; -1 if it is absent."""
    index = torch.searchsorted(values, wanted.contiguous()).clamp_(max=len(values) - 1)
    return torch.where(values[index] == wanted, index, -1)
