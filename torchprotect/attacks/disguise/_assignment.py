"""One-to-one assignment of blocks to positions at minimum cost."""

import torch
from torch import Tensor

from torchprotect.errors import InputRangeError


def assign(costs: Tensor) -> Tensor:
    """Return the block for each position, int64 ``[n]``, that minimises the sum of ``costs [positions, blocks]``.

    With more blocks than positions, some blocks stay unassigned.

    Raises:
        InputRangeError: costs are infinite or NaN, as for images with impossible values.
    """
    from scipy.optimize import linear_sum_assignment

    if not bool(costs.isfinite().all()):
        raise InputRangeError("the values of these images are too large to be compared; images have 0..1 or 0..255")
    blocks = linear_sum_assignment(costs.detach().cpu().numpy())[1]
    return torch.from_numpy(blocks).to(costs.device, torch.int64)


def margins(costs: Tensor, blocks: Tensor) -> Tensor:
    """Return how much cheaper the block at each position is than the cheapest other one there, float32 ``[n]``.

    0 is a tie; a negative margin means that another block fits better but was needed elsewhere.
    """
    if len(costs) == 1:
        return torch.full((1,), torch.inf, device=costs.device)
    chosen = blocks[:, None]
    others = costs.scatter(1, chosen, torch.inf).amin(1)
    return (others - costs.gather(1, chosen)[:, 0]).float()
