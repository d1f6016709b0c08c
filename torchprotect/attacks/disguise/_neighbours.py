"""Nearest neighbours, in parts that bound the memory."""

import torch
from torch import Tensor

_NUMBERS_AT_ONCE = 2**24
_SPARE = 4  # more neighbours than asked for are measured again without rounding errors of the first pass


def nearest(queries: Tensor, candidates: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Return the ``k`` nearest candidates of each query, best first, and their Euclidean distances.

    Args:
        queries: float32 ``[N, F]``.
        candidates: float32 ``[M, F]``.
        k: at most M.

    Returns:
        int64 and float32 ``[N, k]``.
    """
    centre = candidates.mean(0)  # small numbers: squares of large ones would leave no digits for their differences
    queries, candidates = queries - centre, candidates - centre
    squares = candidates.square().sum(1)
    taken = min(k + _SPARE, len(candidates))
    at_once = max(1, _NUMBERS_AT_ONCE // max(len(candidates), taken * candidates.shape[1]))
    found = [_nearest(part, candidates, squares, taken) for part in queries.split(at_once)]
    indices, distances = (torch.cat(each) for each in zip(*found, strict=True))
    return indices[:, :k], distances[:, :k]


def vote(indices: Tensor, distances: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Return the class that the neighbours of each query vote for, int64 ``[N]``; nearer ones count more.

    Args:
        indices: int64 ``[N, k]``, neighbours of each query.
        distances: ``[N, k]``, to them; a vote counts by its inverse.
        labels: int64 ``[M]`` of the candidates.
        classes: number of classes.
    """
    weights = 1 / distances.double().clamp(min=1e-9)
    votes = weights.new_zeros(len(indices), classes).scatter_add_(1, labels[indices], weights)
    return votes.argmax(1)


def _nearest(queries: Tensor, candidates: Tensor, squares: Tensor, k: int) -> tuple[Tensor, Tensor]:
    near = torch.addmm(squares, queries, candidates.T, alpha=-2).topk(k, largest=False).indices
    distances = torch.linalg.vector_norm(candidates[near] - queries[:, None], dim=2)
    distances, order = distances.sort(dim=1, stable=True)
    return near.gather(1, order), distances
