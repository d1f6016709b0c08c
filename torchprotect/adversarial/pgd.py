"""Projected gradient descent in an L2 ball, toward target classes or away from given ones."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int, require_number, require_tensor, type_name
from torchprotect.adversarial.l2 import distances, into_ball, norms, per_image, require_within
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, ModelError, ProtectError
from torchprotect.training import eval_mode, require_precision, require_running_statistics, scores_of

_TINY = 1e-10  # added to a gradient's norm, so that a gradient of zero gives a step of zero


@dataclass(frozen=True)
class PGDSettings:
    """Settings of a PGD search; checked on creation.

    Attributes:
        eps: radius of the L2 ball around each whole image, in pixel units (0..1).
        step_size: length of a step.
        steps: number of steps.
        bounds: lowest and highest pixel value.
        keep_best: return each image's iterate of lowest loss (highest, if not targeted) instead of the last one.
        random_start: start at a random point of the ball instead of at the image.
        targeted: move toward the given classes; otherwise away from them, as in adversarial training.
        precision: autocast dtype of the network, or ``None`` for its own dtype. In float16, small gradients can vanish,
            because losses are not scaled; bfloat16 has no such limit.
        channels_last: pass images to the network in channels-last memory format.
    """

    eps: float
    step_size: float
    steps: int
    bounds: tuple[float, float] = (0.0, 1.0)
    keep_best: bool = True
    random_start: bool = False
    targeted: bool = True
    precision: torch.dtype | None = None
    channels_last: bool = False

    def __post_init__(self) -> None:
        for name in ("eps", "step_size"):
            require_number(name, getattr(self, name), above=0)
        require_int("steps", self.steps, at_least=1)
        _require_range(self.bounds)
        require_precision(self.precision)


@dataclass(frozen=True, eq=False)
class Perturbed:
    """Images after a perturbation.

    Attributes:
        images: like the plain ones.
        distances: ``[N]``, L2 distance of each image to its plain version, in pixel units.
        losses: ``[N]``, cross-entropy of these images toward the target. Without ``keep_best``, that of the images
            before the last step, which saves a forward pass. ``[N, K]`` for K targets, before they are combined.
    """

    images: Tensor
    distances: Tensor
    losses: Tensor

    @property
    def max_distance(self) -> float:
        """Largest of the distances; 0 for no images."""
        return float(self.distances.max()) if self.distances.numel() else 0.0

    @property
    def mean_distance(self) -> float:
        """Mean of the distances; 0 for no images."""
        return float(self.distances.mean()) if self.distances.numel() else 0.0


def pgd_l2(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    *,
    eps: float,
    step_size: float,
    steps: int,
    bounds: tuple[float, float] = (0.0, 1.0),
    keep_best: bool = True,
    random_start: bool = False,
    targeted: bool = True,
    precision: torch.dtype | None = None,
    channels_last: bool = False,
    generator: torch.Generator | None = None,
) -> Perturbed:
    """Perturb images within an L2 ball so that a classifier predicts the target classes.

    Each step moves by ``step_size`` along the normalised gradient of the cross-entropy, then projects back into the
    ball and into ``bounds``. Memory does not grow with the number of steps. The model runs in eval mode, without
    gradients for its parameters; both are restored at the end, even after an error. A model therefore serves one call
    at a time. To compile it, pass ``torch.compile(model)``.

    Args:
        model: takes images and returns scores ``[N, classes]``; normalisation belongs inside it.
        images: float32 or float64 ``[N, ...]`` within ``bounds``, on the model's device.
        targets: int64 ``[N]``, the class to perturb each image toward, or away from.
        eps: radius of the L2 ball around each whole image, in pixel units.
        step_size: length of a step.
        steps: number of steps.
        bounds: lowest and highest pixel value.
        keep_best: return each image's iterate of lowest loss (highest, if not targeted), which takes one more forward
            pass in total; otherwise the last one.
        random_start: start at a random point of the ball.
        targeted: move toward ``targets``; otherwise away from them.
        precision: ``torch.bfloat16`` or ``torch.float16`` to run the network under autocast.
        channels_last: pass images to the network in channels-last memory format.
        generator: draws the random start, on the images' device.

    Returns:
        Images, their distances and losses. They are not rounded, see :func:`round_to_8bit`.

    Raises:
        InputTypeError: images are not float32 or float64, targets are not int64, or the model is not a module.
        InputRangeError: images lie outside ``bounds`` (the message has their range), or a setting is invalid.
        InputShapeError: shapes or devices of images and targets do not match.
        ModelError: the model returns another shape or NaN, has too few classes, passes on no gradient, or normalises
            over the batch.

    References:
        Hu et al., Adversarial Data Encryption, section 3.1; Madry et al., Towards Deep Learning Models Resistant to
        Adversarial Attacks.

    Example::

        found = adversarial.pgd_l2(model, images, targets, eps=0.5, step_size=0.1, steps=100)
        found.images, found.max_distance
    """
    settings = PGDSettings(eps, step_size, steps, bounds, keep_best, random_start, targeted, precision, channels_last)
    return search(model, images, targets, settings, generator)


def search(
    model: nn.Module,
    images: Tensor,
    targets: Tensor,
    settings: PGDSettings,
    generator: torch.Generator | None = None,
) -> Perturbed:
    """Run :func:`pgd_l2` with its settings in one object."""
    if not isinstance(model, nn.Module):
        raise InputTypeError(f"the model must be an nn.Module, got {type_name(model)}")
    _check(images, targets, settings)
    with _prepared(model), _gradient_mode(images.device.type):
        plain, targets = images.detach().clone(), targets.clone()
        if not len(plain):
            return Perturbed(plain, distances(plain, plain), distances(plain, plain))
        laid_out = settings.channels_last and plain.ndim == 4
        start = plain.contiguous(memory_format=torch.channels_last) if laid_out else plain
        found, losses = _descend(_loss_of(model, targets, settings), start, settings, generator)
        found = torch.empty_like(plain).copy_(found) if laid_out else found
        reached = distances(found, plain)
        if not bool((losses.isfinite() & reached.isfinite()).all()):
            raise ModelError(
                "the model's scores or their gradients are NaN or infinite for some images; check its weights "
                "and precision"
            )
        return Perturbed(found, reached, losses if settings.targeted else -losses)


Loss = Callable[[Tensor], Tensor]


def _descend(
    loss: Loss, plain: Tensor, settings: PGDSettings, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Return the chosen iterates and their losses."""
    low, high = settings.bounds
    here = _random_start(plain, settings, generator) if settings.random_start else plain
    best, lowest = here, plain.new_full((len(plain),), math.inf, dtype=torch.promote_types(plain.dtype, torch.float32))
    for _ in range(settings.steps):
        here = here.detach().requires_grad_()
        losses = loss(here)
        (slope,) = torch.autograd.grad(losses.sum(), here)
        with torch.no_grad():
            if settings.keep_best:
                best, lowest = _better(here, losses, best, lowest)
            pace = settings.step_size / (norms(slope) + _TINY)
            stepped = torch.addcmul(here, slope, per_image(pace, slope), value=-1)
            here = into_ball(stepped - plain, plain, settings.eps).clamp_(low, high)
    if not settings.keep_best:
        return here, losses.detach()
    with torch.no_grad():
        return _better(here, loss(here), best, lowest)


def _better(here: Tensor, losses: Tensor, best: Tensor, lowest: Tensor) -> tuple[Tensor, Tensor]:
    # also replaces by NaN, so that it shows in the result
    better = ~(losses >= lowest)
    return torch.where(per_image(better, here), here.detach(), best), torch.where(better, losses.detach(), lowest)


def _random_start(plain: Tensor, settings: PGDSettings, generator: torch.Generator | None) -> Tensor:
    """Return images drawn uniformly from each ball."""
    direction = torch.randn(plain.shape, dtype=plain.dtype, device=plain.device, generator=generator)
    radius = torch.rand(len(plain), dtype=plain.dtype, device=plain.device, generator=generator)
    radius = settings.eps * radius.pow(1 / max(1, plain[0].numel()))
    difference = direction * per_image(radius / norms(direction).clamp_min(1e-12), plain)
    return into_ball(difference, plain, settings.eps).clamp_(*settings.bounds)


def _loss_of(model: nn.Module, targets: Tensor, settings: PGDSettings) -> Loss:
    """Return the cross-entropy of each image toward its target; checks the model's scores."""

    def loss(images: Tensor) -> Tensor:
        with (
            _explained_mismatch(model, images),
            torch.autocast(images.device.type, settings.precision, enabled=settings.precision is not None),
        ):
            scores = scores_of(model, images)
        if largest >= scores.shape[1]:  # the message does not name the class: targets may be secret
            raise ModelError(f"the model has {scores.shape[1]} classes, but a target lies outside of them")
        if torch.is_grad_enabled() and not scores.requires_grad:
            raise ModelError("no gradient reaches the images through the model; does it detach them or use no_grad?")
        exact = scores.to(torch.promote_types(scores.dtype, torch.float32))
        losses = nn.functional.cross_entropy(exact, targets, reduction="none")
        return losses if settings.targeted else -losses

    largest = int(targets.max())
    return loss


@contextlib.contextmanager
def _explained_mismatch(model: nn.Module, images: Tensor) -> Iterator[None]:
    """Explain errors of a model on images of another dtype than its weights."""
    try:
        yield
    except RuntimeError as error:
        dtypes = {tensor.dtype for tensor in model.parameters() if tensor.is_floating_point()} - {images.dtype}
        if isinstance(error, ProtectError) or not dtypes:
            raise
        raise ModelError(
            f"the model fails on {images.dtype} images, perhaps because its weights are {_listed(dtypes)}: give "
            "images.float() to a float32 model, images.double() to a float64 model, and for half precision call "
            f"model.float() and give precision=torch.float16 or torch.bfloat16. It said: {error}"
        ) from error


def _listed(dtypes: set[torch.dtype]) -> str:
    return ", ".join(sorted(str(dtype) for dtype in dtypes))


@contextlib.contextmanager
def _gradient_mode(device: str) -> Iterator[None]:
    """Enable gradients and disable the caller's autocast, which would also affect the backward pass."""
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
        yield


@contextlib.contextmanager
def _prepared(model: nn.Module) -> Iterator[None]:
    """Put every module into eval mode and disable gradients of all parameters; restore both on exit."""
    require_running_statistics("model", model)
    if any(tensor.is_inference() for tensor in (*model.parameters(), *model.buffers())):
        raise ModelError(
            "the model was created or loaded in torch.inference_mode and supports no gradients; create it outside"
        )
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with eval_mode(model):
        try:
            for parameter in learning:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter in learning:
                parameter.requires_grad_()


def _check(images: Tensor, targets: Tensor, settings: PGDSettings) -> None:
    require_tensor("images", images)
    require_tensor("targets", targets)
    if images.dtype not in (torch.float32, torch.float64):
        raise InputTypeError(
            f"images must be float32 or float64 in {settings.bounds}, not {images.dtype}: divide uint8 by 255; for a "
            "network in half precision give float32 and precision=..."
        )
    if targets.dtype != torch.int64:
        raise InputTypeError(f"targets must be int64 class numbers, not {targets.dtype}")
    if images.ndim < 2 or targets.shape != images.shape[:1] or targets.device != images.device:
        raise InputShapeError(
            f"images [N, ...] and targets [N] on one device are needed, not {list(images.shape)} on {images.device} "
            f"and {list(targets.shape)} on {targets.device}"
        )
    if targets.numel() and int(targets.min()) < 0:
        raise InputRangeError("a target class is negative; classes are counted from 0")
    require_within(images, *settings.bounds, "perturb before Normalize, or give bounds")


def _require_range(bounds: object) -> None:
    if not isinstance(bounds, tuple | list) or len(bounds) != 2:
        raise InputRangeError(f"bounds must be a pair (lowest, highest pixel value), got {bounds!r}")
    low, high = bounds
    require_number("the lower of the bounds", low)
    require_number("the upper of the bounds", high, above=low)
