"""95 % intervals of shares and means."""

import math

from torch import Tensor

_Z = 1.96


def wilson(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % Wilson score interval of a share; it contains the share itself.

    Args:
        share: 0..1.
        count: number of trials, at least 1.
    """
    centre = share + _Z * _Z / (2 * count)
    spread = _Z * math.sqrt(share * (1 - share) / count + _Z * _Z / (4 * count * count))
    scale = 1 + _Z * _Z / count
    return min(share, (centre - spread) / scale), max(share, (centre + spread) / scale)


def around_mean(values: Tensor) -> tuple[float, float]:
    """Return the 95 % interval of the mean of ``values [N]`` by the normal approximation; of one value, itself."""
    mean, count = float(values.double().mean()), values.numel()
    spread = _Z * float(values.double().std()) / math.sqrt(count) if count > 1 else 0.0
    return mean - spread, mean + spread
