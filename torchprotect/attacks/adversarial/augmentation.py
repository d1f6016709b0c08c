"""Strong augmentation of a batch, drawn separately for each image."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from torchprotect._inputs import require_int, require_number
from torchprotect.attacks._inputs import require_pictures
from torchprotect.attacks.adversarial._released import released
from torchprotect.attacks.adversarial.train_and_watch import train_on, training_attack
from torchprotect.attacks.protocol import Seen
from torchprotect.attacks.results import NetworkResult


def strong_augmentation(
    *, padding: int = 4, jitter: float = 0.4, hole: float = 0.5, generator: torch.Generator | None = None
) -> Callable[[Tensor], Tensor]:
    """Make an augmentation for :func:`train_and_watch`: an attacker with the released images only (level L0).

    Each image is shifted, mirrored or not, changed in brightness, contrast and saturation, and loses a square.
    torchvision's transforms draw once for a whole batch; this function draws for each image, without a loop over
    images.

    Cost: a few passes over the pixels of each batch, anew in each epoch.

    Args:
        padding: largest shift in each direction, in pixels; black comes in.
        jitter: brightness, contrast and saturation are multiplied by a number from ``1 - jitter`` to ``1 + jitter``.
        hole: side of the square that turns black, as a fraction of the shorter side of the image; it may lie across an
            edge.
        generator: source of randomness; torch's global one when ``None``.

    Returns:
        A function that takes images, floating point in 0..1 ``[N, C, H, W]``, and returns images like them.

    Raises:
        InputRangeError: ``padding`` is negative, or ``jitter`` or ``hole`` is not a number in 0..1.

    References:
        DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout; on augmentation
        against perturbed data: Qin et al., Learning the Unlearnable (arXiv 2303.15127), which uses other augmentations.
    """
    require_int("padding", padding, at_least=0)
    for name, value in (("jitter", jitter), ("hole", hole)):
        require_number(name, value, at_least=0, at_most=1)
    return _Strong(padding, jitter, hole, generator)


@dataclass(frozen=True, eq=False)
class _Strong:
    padding: int
    jitter: float
    hole: float
    generator: torch.Generator | None

    def __call__(self, images: Tensor) -> Tensor:
        require_pictures(images)
        return self._cut(self._recolour(self._move(images)))

    def _move(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        down, right, mirror = self._draw(images, 3).unbind(1)
        rows = (down * (2 * self.padding + 1)).long()[:, None] + torch.arange(height, device=images.device)
        columns = (right * (2 * self.padding + 1)).long()[:, None] + torch.arange(width, device=images.device)
        columns = torch.where(mirror[:, None] < 0.5, columns.flip(1), columns)
        padded = torch.nn.functional.pad(images, [self.padding] * 4).movedim(1, -1)
        each = torch.arange(len(images), device=images.device)[:, None, None]
        return padded[each, rows[:, :, None], columns[:, None, :]].movedim(-1, 1)

    def _recolour(self, images: Tensor) -> Tensor:
        factors = 1 + (2 * self._draw(images, 3) - 1) * self.jitter
        brightness, contrast, saturation = factors.to(images.dtype)[..., None, None, None].unbind(1)
        images = (images * brightness).clamp(0, 1)
        grey = tv.rgb_to_grayscale(images) if images.shape[1] == 3 else images
        images = torch.lerp(grey.mean((1, 2, 3), keepdim=True), images, contrast).clamp(0, 1)
        if images.shape[1] != 3:
            return images
        return torch.lerp(tv.rgb_to_grayscale(images), images, saturation).clamp(0, 1)

    def _cut(self, images: Tensor) -> Tensor:
        half = self.hole * min(images.shape[-2:]) / 2
        inside = []
        for centre, length in zip(self._draw(images, 2).unbind(1), images.shape[-2:], strict=True):
            pixels = torch.arange(length, device=images.device) + 0.5
            inside.append((pixels - centre[:, None] * length).abs() < half)
        return images.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[:, None], 0)

    def _draw(self, images: Tensor, count: int) -> Tensor:
        device = images.device if self.generator is None else self.generator.device
        return torch.rand(len(images), count, generator=self.generator, device=device).to(images.device)


def _run(seen: Seen) -> NetworkResult:
    return train_on(seen, released(seen).images, strong_augmentation(generator=seen.generator))


STRONG_AUGMENTATION = training_attack(
    "strong_augmentation",
    "Training with strong augmentation",
    "trains on the released images, each shifted, mirrored, recoloured and cut at random",
    _run,
)
