"""Independent component analysis beside the fit of moments, for random matrices that are no rotations.

Usage: OMP_NUM_THREADS=1 python benchmarks/independent_components.py ROOT. ROOT as for moments.py; needs scikit-learn.

FastICA unmixes public and disguised lines at each position. Components are matched by their quantiles, up to the sign,
and disguised lines are mixed again as public ones. The order of the blocks is given, and no noise is taken out of the
images. Root mean squared errors in grey levels; one run each.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from moments import load
from scipy.optimize import linear_sum_assignment
from sklearn.decomposition import FastICA
from torch import Tensor

from torchprotect import attacks, keys, transforms
from torchprotect.attacks.disguise._blocks import assemble, undo_order
from torchprotect.attacks.disguise._moments import moments_of
from torchprotect.attacks.disguise._preserved import Reading
from torchprotect.attacks.disguise._rotations import fit_matrices

CASES = (
    ("Fashion-MNIST", (7, 7), 0, "uniform"),
    ("Fashion-MNIST", (7, 7), 100, "uniform"),
    ("CIFAR-10", (8, 8), 0, "gaussian"),
)
IMAGES, ROWS = 5_000, 20_000


def unmix(plain: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Return disguised lines in the coordinates of plain ones."""
    draws = np.random.default_rng(0)
    models = [
        FastICA(whiten="unit-variance", random_state=0, max_iter=400, tol=1e-3).fit(draws.permutation(rows)[:ROWS])
        for rows in (plain, seen)
    ]
    one, other = (model.transform(rows) for model, rows in zip(models, (plain, seen), strict=True))
    apart = [np.square(quantiles(one)[:, None] - quantiles(sign * other)[None]).sum(-1) for sign in (1, -1)]
    rows, columns = linear_sum_assignment(np.minimum(*apart))
    signs = np.where(apart[0] <= apart[1], 1, -1)[rows, columns]
    return models[0].inverse_transform(other[:, columns] * signs)


def quantiles(components: np.ndarray) -> np.ndarray:
    return np.quantile(components, np.linspace(0.02, 0.98, 49), axis=0).T


def errors(root: Path, name: str, block: tuple[int, int], noise: int, matrix: str) -> tuple[float, float, float]:
    """Return the errors of the mean image, of independent components and of the fit of moments."""
    images, _ = load(root, name)
    public, plain = images[:IMAGES], images[IMAGES : 2 * IMAGES]
    size = (images.shape[2], images.shape[3])
    key = keys.RMTKey.generate(image_size=size, block_size=block, matrix=matrix)
    order = keys.PermutationKey.generate(image_size=size, block_size=block)
    disguise = transforms.RMTDisguise(key, permutation=order, noise=noise)
    torch.manual_seed(0)
    reading = Reading(attacks.Scheme.of(disguise.describe()))
    known, seen = reading.lines(public, undo_order(disguise(plain), order.order, block))
    blurred = known + noise * (torch.rand(known.shape) - 0.5)
    unmixed = [
        unmix(*(rows.flatten(0, -2).double().numpy() for rows in pair)) for pair in zip(blurred, seen, strict=True)
    ]
    grouped = [lines.flatten(2, 3) for lines in (known, seen)]
    fit = fit_matrices(moments_of(grouped[0], variance=noise**2 / 12), moments_of(grouped[1]), orthogonal=False)
    opened = grouped[1] @ fit.back[:, None].float()
    guesses = (
        plain.float().mean(0, keepdim=True).expand(plain.shape),
        *(
            assemble(lines.reshape(seen.shape) - noise / 2, size).clamp(0, 255)
            for lines in (torch.from_numpy(np.stack(unmixed)).float(), opened)
        ),
    )
    return tuple(error(guess, plain) for guess in guesses)  # type: ignore[return-value]


def error(images: Tensor, plain: Tensor) -> float:
    return float((images - plain).square().mean((1, 2, 3)).sqrt().mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    arguments = parser.parse_args()
    for case in CASES:
        mean, components, moments = errors(arguments.root, *case)
        print(f"{case}: mean image {mean:.1f}, FastICA {components:.1f}, moments {moments:.1f}", flush=True)


if __name__ == "__main__":
    main()
