"""Find nearest neighbours in chunks of bounded memory, and let them vote."""

from collections.abc import Callable

import torch
from torch import Tensor

_NUMBERS_AT_ONCE = 2**24
_SPARE = 4  # extra neighbours of the first pass, whose distances are computed again without its rounding errors


def nearest(
    queries: Tensor, candidates: Tensor, k: int, progress: Callable[[int, int], None] | None = None
) -> tuple[Tensor, Tensor]:
    """Return the ``k`` nearest candidates of each query, best first, and their Euclidean distances.

    Args:
        queries: float32 ``[N, F]``.
        candidates: float32 ``[M, F]``.
        k: at most M.
        progress: called with queries done and in all.

    Returns:
        int64 and float32 ``[N, k]``.
    """
    centre = candidates.mean(0)  # small numbers: squares of large ones would leave no digits for their differences
    queries, candidates = queries - centre, candidates - centre
    squares = candidates.square().sum(1)
    taken = min(k + _SPARE, len(candidates))
    at_once = max(1, _NUMBERS_AT_ONCE // max(len(candidates), taken * candidates.shape[1]))
    found = []
    for part in queries.split(at_once):
        found.append(_nearest(part, candidates, squares, taken))
        if progress is not None:
            progress(min(len(found) * at_once, len(queries)), len(queries))
    indices, distances = (torch.cat(each) for each in zip(*found, strict=True))
    return indices[:, :k], distances[:, :k]


def vote(mine: Tensor, labels: Tensor, theirs: Tensor, classes: int, voters: int) -> Tensor:
    """Return the class that the nearest labelled images vote for, int64 ``[M]``; nearer ones have more weight.

    Args:
        mine: features of the labelled images, float32 ``[positions, N, features]``.
        labels: int64 ``[N]``.
        theirs: features of the images to classify, ``[positions, M, features]``.
        classes: number of classes.
        voters: number of nearest labelled images that vote; all if there are fewer.
    """
    near, distances = nearest(joined(theirs), joined(mine), min(voters, len(labels)))
    weights = 1 / distances.double().clamp(min=1e-9)
    votes = weights.new_zeros(len(near), classes).scatter_add_(1, labels[near], weights)
    return votes.argmax(1)


def joined(features: Tensor) -> Tensor:
    """Lay the features of all positions side by side: ``[positions, N, features]`` to ``[N, positions * features]``."""
    return features.movedim(0, 1).flatten(1)


def _nearest(queries: Tensor, candidates: Tensor, squares: Tensor, k: int) -> tuple[Tensor, Tensor]:
    near = torch.addmm(squares, queries, candidates.T, alpha=-2).topk(k, largest=False).indices
    distances = torch.linalg.vector_norm(candidates[near] - queries[:, None], dim=2)
    distances, order = distances.sort(dim=1, stable=True)
    return near.gather(1, order), distances
