"""What is measured on one fold: the owner's network, and the paper's attacks.

Attacks see disguised test images; known pairs are training images.
"""

import math
from typing import Any

import torch
from common.images import Images
from disguise_bench import Bench
from owner import PLAIN, Disguise, crop, pad
from torch import Tensor

from torchprotect import attacks


def utility(bench: Bench, *, name: str, fold: int, disguise: Disguise) -> dict[str, float]:
    """Train a network on disguised images and test it on disguised ones: accuracy in percent."""
    torch.manual_seed(fold)  # of the noise
    test = bench.test(name, fold)
    if disguise == PLAIN:
        network, seen = bench.examiner(name, fold), test.images
    else:
        owner, train = bench.owner(name, fold, disguise), bench.train(name, fold)
        network, seen = bench.learn(Images(owner(train.images), train.labels), fold), owner(test.images)
    return {"accuracy": 100 * attacks.examiner_score(network, seen, test.labels).accuracy}


def codebook(
    bench: Bench, *, name: str, fold: int, disguise: Disguise, pairs: int, attacked: int, fallback: Any
) -> dict[str, float]:
    """Run the codebook attack: success rate, and hit rates over all units, over non-constant ones, and one to one."""
    torch.manual_seed(fold)  # of salt and pepper
    owner, test = bench.owner(name, fold, disguise), bench.test(name, fold).first(attacked)
    known = bench.pairs(name, fold, pairs)
    result = attacks.codebook_attack(
        pad(known, disguise.size),
        owner(known),
        owner(test.images),
        scheme=owner.scheme,
        fallback=fallback,
        order=owner.order,
        generator=torch.Generator().manual_seed(fold),
    )
    rates = {
        "hit rate": result.hit_rate,
        "hit rate, non-constant": result.hit_rate_non_constant,
        "one to one": result.one_to_one_rate,
    }
    shown = {name: 0.0 if math.isnan(rate) else 100 * rate for name, rate in rates.items()}
    return {"success": _success(bench, name, fold, result.images, test.labels), **shown}


def regression(
    bench: Bench, *, name: str, fold: int, noise: float, pairs: int, attacked: int, as_paper: bool
) -> dict[str, float]:
    """Run the regression attack: success rate and error in grey levels; as in the paper, or with an intercept."""
    torch.manual_seed(fold)
    owner = bench.owner(name, fold, Disguise("rmt", noise=noise))
    known, test = bench.pairs(name, fold, pairs), bench.test(name, fold).first(attacked)
    result = attacks.regression_attack(
        known,
        owner(known),
        owner(test.images),
        scheme=owner.scheme,
        order=owner.order,
        intercept=not as_paper,
        solve_for="matrix" if as_paper else "plain",
    )
    error = attacks.score_reconstruction(result, test.images).mean_rmse
    return {"success": _success(bench, name, fold, result.images, test.labels), "error": error}


def reidentification(bench: Bench, *, name: str, fold: int, disguise: Disguise) -> dict[str, float]:
    """Show disguised images as they are to an examiner: success rate."""
    torch.manual_seed(fold)
    test = bench.test(name, fold)
    disguised = bench.owner(name, fold, disguise)(test.images).float()
    return {"success": _success(bench, name, fold, disguised, test.labels)}


def inversion(
    bench: Bench, *, name: str, fold: int, disguise: Disguise, pairs: int, epochs: int, attacked: int
) -> dict[str, float]:
    """Run the learned inversion, which is told neither disguise nor order: success rate and quality of the pictures."""
    owner, test = bench.owner(name, fold, disguise), bench.test(name, fold).first(attacked)
    known = bench.pairs(name, fold, pairs)
    torch.manual_seed(fold)
    result = attacks.reconstruction_attack(
        pad(known, disguise.size),
        owner(known),
        owner(test.images),
        epochs=epochs,
        generator=torch.Generator().manual_seed(fold),
        device=bench.device,
    )
    score = attacks.score_reconstruction(result, pad(test.images, disguise.size))
    quality = {"PSNR": score.mean_psnr, "PSNR by chance": score.psnr_chance}
    quality |= {"SSIM": score.mean_ssim, "SSIM by chance": score.ssim_chance}
    return {"success": _success(bench, name, fold, result.images, test.labels), **quality}


def _success(bench: Bench, name: str, fold: int, rebuilt: Tensor, labels: Tensor) -> float:
    """Return the attack success rate as the paper defines it: accuracy over that on plain images, in percent."""
    examiner, plain = bench.examiner(name, fold), bench.test(name, fold)
    baseline = attacks.examiner_score(examiner, plain.images, plain.labels).accuracy
    return 100 * (attacks.examiner_score(examiner, crop(rebuilt), labels, baseline).success_rate or 0.0)
