"""Scale down by 2, 4 or 8 with a bicubic filter in integer arithmetic: the same bits on every device.

Weights are rounded to multiples of 2^-22 from exact fractions and sums are kept in int32. Each pass (first along rows,
then along columns) is rounded and clipped to 0..255. The filter is the cubic convolution of Keys (1981) with a = -1/2,
widened by the factor. Weights outside the image are dropped, and the others are rescaled to a sum of one.
"""

from fractions import Fraction
from functools import cache

import torch
from torch import Tensor

_PRECISION = 22


def _cubic(x: Fraction) -> Fraction:
    a, x = Fraction(-1, 2), abs(x)
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else Fraction(0)


def _to_fixed(x: Fraction) -> int:
    """Round half away from zero."""
    magnitude = int(abs(x) * 2**_PRECISION + Fraction(1, 2))
    return magnitude if x >= 0 else -magnitude


@cache
def weights(size: int, factor: int) -> tuple[tuple[int, ...], ...]:
    """Return the fixed-point weights: one row for each of ``size`` outputs, ``4 * factor`` taps.

    Tap ``t`` of output ``i`` lies on input ``i * factor - 3 * factor / 2 + t``; taps outside the image have weight 0.
    """
    taps = [_cubic(Fraction(2 * t + 1 - 4 * factor, 2 * factor)) for t in range(4 * factor)]
    rows = []
    for i in range(size):
        first = i * factor - 3 * factor // 2
        inside = [w if 0 <= first + t < size * factor else Fraction(0) for t, w in enumerate(taps)]
        rows.append(tuple(_to_fixed(w / sum(inside)) for w in inside))
    return tuple(rows)


@cache
def _weights_of_repeated(size: int, factor: int) -> tuple[tuple[int, ...], ...]:
    """Return :func:`weights` for an input that repeats each pixel ``factor`` times: one row of 5 taps per output.

    Tap ``t`` of output ``i`` lies on pixel ``i - 2 + t``. Sums of integers are exact, so the result is the same.
    """
    first = 3 * factor // 2  # taps before the output's own run of repeats
    runs = [(t - first) // factor + 2 for t in range(4 * factor)]
    return tuple(
        tuple(sum(w for w, run in zip(row, runs, strict=True) if run == pixel) for pixel in range(5))
        for row in weights(size, factor)
    )


def _filter(image: Tensor, table: tuple[tuple[int, ...], ...], stride: int) -> Tensor:
    """Filter along the last dimension: output ``i`` weighs the taps around input ``i * stride``, rounds and clips."""
    taps, size = len(table[0]), len(table)
    margin = (taps - stride) // 2
    by_tap = torch.tensor(table, dtype=torch.int32, device=image.device).T
    padded = torch.nn.functional.pad(image, (margin, stride - 1 + margin))
    # group inputs by phase, so that each tap reads a run instead of every stride-th value
    phases = [
        padded[..., phase : phase + padded.shape[-1] // stride * stride : stride].int() for phase in range(stride)
    ]
    total = torch.full((*image.shape[:-1], size), 1 << (_PRECISION - 1), dtype=torch.int32, device=image.device)
    for tap in range(taps):
        run, phase = divmod(tap, stride)
        total.addcmul_(phases[phase][..., run : run + size], by_tap[tap])
    return (total >> _PRECISION).clamp(0, 255).to(torch.uint8)


@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]  # dynamo would trace every fraction
def _tables(height: int, width: int, factor: int) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    return weights(width, factor), _weights_of_repeated(height, factor)


def scale_down(image: Tensor, factor: int) -> Tensor:
    """Scale uint8 ``[..., H, factor * W]`` to ``[..., H, W]``; each input row stands for ``factor`` equal rows."""
    height, width = image.shape[-2], image.shape[-1] // factor
    along_rows, along_columns = _tables(height, width, factor)
    narrow = _filter(image, along_rows, factor)
    return _filter(narrow.mT, along_columns, 1).mT
