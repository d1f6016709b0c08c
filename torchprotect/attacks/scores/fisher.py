"""Diagonal Fisher information leakage: a bound from the scrambling function itself."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int, require_number
from torchprotect.attacks._inputs import require_plain
from torchprotect.attacks.results import AttackResult, Level
from torchprotect.errors import InputTypeError, ModelError
from torchprotect.training import full_precision

ROUNDING = math.sqrt(1 / 12)
"""Standard deviation, in grey levels, of a uniformly distributed error of rounding to whole grey levels."""


@dataclass(frozen=True, eq=False, repr=False)
class FisherLeakage(AttackResult):
    """Diagonal Fisher information leakage (dFIL) of scrambled images, on the scale of grey levels 0..255.

    Attributes:
        dfil: float64 ``[N]``: for each image, the mean diagonal entry of its Fisher information matrix, in
            1 / grey level². Infinite without noise.
        standard_error: float64 ``[N]``, of ``dfil``, because the trace is estimated.
        rmse_bound: float64 ``[N]``, ``1 / sqrt(dfil)`` in grey levels: no unbiased estimator of the image has a smaller
            root mean square error. Infinite if the values do not depend on the image.
        mean_dfil: mean over the images.
        mean_standard_error: of ``mean_dfil``, from the estimated traces of these images.
        mean_rmse_bound: root of the mean of the squared bounds: the bound over all these images together.
        noise: assumed standard deviation of the noise, in grey levels.
    """

    dfil: Tensor
    standard_error: Tensor
    rmse_bound: Tensor
    mean_dfil: float
    mean_standard_error: float
    mean_rmse_bound: float
    noise: float


def diagonal_fisher_leakage(
    scramble: Callable[[Tensor], Tensor],
    images: Tensor,
    *,
    noise: float = ROUNDING,
    probes: int = 16,
    batch_size: int = 32,
    generator: torch.Generator | None = None,
) -> FisherLeakage:
    """Compute the dFIL of a differentiable scrambler, and the resulting bound on unbiased reconstruction.

    This is a measure for the owner, who has the encoder and the key, not an attack. If Gaussian noise of standard
    deviation ``noise`` is added to the released values, the Fisher information about the plain pixels is ``JᵀJ /
    noise²``, where J is the Jacobian of the scrambler. dFIL is its trace divided by the number of pixels. ``1 / dFIL``
    is a lower bound on the mean squared error of every unbiased estimator, whatever it knows, including the key.

    Limits: an estimator that knows what images look like is biased, and may beat the bound. ``noise`` is a model:
    scrambled images have no noise, but are rounded to whole grey levels, and the default is the standard deviation of a
    uniformly distributed rounding error. Without any noise, ``noise=0``, dFIL is infinite and the bound 0. If an
    embedding is shorter than the image, no unbiased estimator exists, which the trace does not show.

    The trace is estimated by Hutchinson's method: for each probe, a random vector of signs is propagated back through
    the scrambler, for all images of a batch at once.

    Cost: ``images``, ``probes``; one forward pass, and ``passes`` backward, of an image each.

    Args:
        scramble: takes images, floating point in 0..1, on their device. Returns the released values before rounding,
            floating point on 0..1, ``[N, ...]``, each from its own image alone. A network must be in eval mode.
        images: plain ones, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        noise: standard deviation of the noise on each released value, in grey levels of 0..255.
        probes: random vectors for each image, at least 2.
        batch_size: images per batch.
        generator: draws the vectors; on the CPU.

    Raises:
        InputTypeError, InputShapeError, InputRangeError: the images or settings are invalid.
        ModelError: the scrambler is in training mode, cannot be differentiated or rounds, or returns something else.

    References:
        Maeng et al., Bounding the Invertibility of Privacy-preserving Instance Encoding using Fisher Information, 2023
        (arXiv 2305.04146); Hutchinson, A stochastic estimator of the trace of the influence matrix, 1989.
    """
    require_plain("images", images)
    require_number("noise", noise, at_least=0)
    require_int("probes", probes, at_least=2)
    require_int("batch_size", batch_size, at_least=1)
    _require_scrambler(scramble)
    white = 255 if images.dtype == torch.uint8 else 1
    with full_precision(images.device):
        parts = [
            torch.stack(list(_traces(scramble, part.float() / white, probes, generator)), 1)
            for part in images.split(batch_size)
        ]
    drawn = torch.cat(parts).double().cpu() / images[0].numel()  # per pixel, for noise of one grey level
    dfil = drawn.mean(1) / noise**2 if noise else torch.where(drawn.mean(1) > 0, math.inf, 0.0)
    error = drawn.std(1) / math.sqrt(probes) / noise**2 if noise else torch.full_like(dfil, math.nan)
    cost = {"images": len(images), "probes": probes, "passes": len(images) * probes}
    return FisherLeakage(
        Level.PARTIAL_KEY,  # the bound holds for whoever has the whole key, and for those who know less
        cost,
        dfil=dfil,
        standard_error=error,
        rmse_bound=dfil.rsqrt(),
        mean_dfil=float(dfil.mean()),
        mean_standard_error=float(error.square().sum().sqrt() / len(error)),
        mean_rmse_bound=float(dfil.reciprocal().mean().sqrt()),
        noise=float(noise),
    )


def _require_scrambler(scramble: Callable[[Tensor], Tensor]) -> None:
    if not callable(scramble):
        raise InputTypeError(f"scramble must be a function of images, not {type(scramble).__name__}")
    if isinstance(scramble, nn.Module) and any(module.training for module in scramble.modules()):
        raise ModelError("the scrambler is in training mode, in which an image may depend on its batch: call eval()")


def _traces(
    scramble: Callable[[Tensor], Tensor], images: Tensor, probes: int, generator: torch.Generator | None
) -> Iterator[Tensor]:
    """Yield estimates of each image's trace of JᵀJ, float ``[N]``, one for each probe."""
    with torch.enable_grad():
        leaf = images.clone().requires_grad_()
        values = _require_values(scramble(leaf.clone()), len(images))
    for _ in range(probes):
        signs = torch.randint(0, 2, values.shape, generator=generator).to(values.device, values.dtype) * 2 - 1
        try:
            (gradient,) = torch.autograd.grad(values, leaf, signs, retain_graph=True)
        except RuntimeError as error:
            raise ModelError(f"the scrambler cannot be differentiated: {error}") from error
        if not bool(gradient.isfinite().all()):
            raise ModelError("derivatives of the scrambler are NaN or infinite for some images")
        if not bool(gradient.any()) and bool((values != values[:1]).any()):
            raise ModelError("derivatives of the scrambler are 0, but its values differ: return them before rounding")
        yield gradient.flatten(1).square().sum(1)


def _require_values(values: Tensor, count: int) -> Tensor:
    if not isinstance(values, Tensor) or values.ndim < 2 or len(values) != count or not values.is_floating_point():
        received = f"{values.dtype} {list(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise ModelError(
            f"the scrambler must return floating-point values [{count}, ...] before rounding, not {received}"
        )
    if not values.requires_grad:
        raise ModelError(
            "the scrambler cannot be differentiated: its values do not depend on the images by autograd; it may round, "
            "detach, or run under no_grad()"
        )
    return values
