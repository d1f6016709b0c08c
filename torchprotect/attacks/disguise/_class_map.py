"""Match class numbers that a secret map renamed, by the mean images of the classes."""

import torch
from torch import Tensor


def match_classes(plain: Tensor, plain_labels: Tensor, opened: Tensor, labels: Tensor) -> Tensor:
    """Return the number written for each plain class: int64 ``[classes]``, -1 for a class without images or a match.

    Mean images of classes are matched one to one, with the least sum of squared distances.

    Args:
        plain: public images, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        plain_labels: int64 ``[N]``.
        opened: rebuilt images in grey levels, ``[M, C, H, W]``.
        labels: int64 ``[M]``, as written.
    """
    from scipy.optimize import linear_sum_assignment

    numbers, means = _class_means(plain.float() * (1 if plain.dtype == torch.uint8 else 255), plain_labels)
    written, means_seen = _class_means(opened, labels)
    costs = torch.cdist(means, means_seen).square()
    rows, columns = map(torch.from_numpy, linear_sum_assignment(costs.cpu().numpy()))
    found = torch.full((int(plain_labels.max()) + 1,), -1, device=plain_labels.device)
    found[numbers[rows]] = written[columns]
    return found


def _class_means(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return class numbers, int64 ``[classes]``, and mean images of these, ``[classes, pixels]``."""
    numbers, classes, counts = labels.unique(return_inverse=True, return_counts=True)
    flat = images.flatten(1)
    sums = flat.new_zeros(len(numbers), flat.shape[1]).index_add_(0, classes, flat)
    return numbers, sums / counts[:, None]
