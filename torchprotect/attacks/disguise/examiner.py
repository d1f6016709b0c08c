"""The DNN examiner: a network that stands in for a person who looks at disguised or rebuilt images."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from torchprotect import training
from torchprotect._inputs import require_int
from torchprotect.attacks._inputs import (
    require_grey_levels,
    require_images,
    require_labels,
)
from torchprotect.attacks.results import ClassGuesses, Level
from torchprotect.attacks.seeding import seeded
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, ModelError
from torchprotect.models import SmallAlexNet
from torchprotect.training import predict

_RECIPE = training.Recipe(learning_rate=1e-3)
_SCALE = "scale"
_AT_ONCE = 4096  # images whose mean and deviation are summed at once


class DNNExaminer:
    """A classifier of plain images that is shown disguised or rebuilt ones: an attacker with public data (level L1).

    What it recognises, a person who looks can recognise too. What it does not recognise, another attack still may. On
    disguised images as they are, it is the paper's direct re-identification.

    Images are standardised channel by channel with the means and standard deviations of the training images. It
    therefore takes uint8 images, floating-point images in 0..1, and the real numbers outside these ranges that RMT
    gives.

    Args:
        classes: number of classes.
        image_size: ``(H, W)`` in pixels.
        channels: number of channels of the images.
        network: an untrained network instead of :class:`torchprotect.models.SmallAlexNet`: standardised float images
            ``[N, C, H, W]`` to scores ``[N, classes]``. The paper takes the architecture that the owner trains. It is
            trained in place and left in eval mode.
        device: where the network runs; the device of the training images when ``None``.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section V-B.
    """

    def __init__(
        self,
        classes: int,
        image_size: tuple[int, int],
        channels: int = 1,
        *,
        network: nn.Module | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        require_int("classes", classes, at_least=2)
        require_int("channels", channels, at_least=1)
        for side in image_size:
            require_int("a side of image_size", side, at_least=1)
        self.classes, self.image_size, self.channels = classes, tuple(image_size), channels
        self._network, self._device = network, None if device is None else torch.device(device)
        self._fitted: _Standardised | None = None
        self._cost: dict[str, int] = {}

    def fit(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        epochs: int = 10,
        batch_size: int = 64,
        recipe: training.Recipe = _RECIPE,
        precision: torch.dtype | None = None,
        channels_last: bool = False,
        generator: torch.Generator | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> "DNNExaminer":
        """Train on plain images, from scratch each time unless a network was given.

        Args:
            images: uint8, or floating point in 0..1, ``[N, C, H, W]``.
            labels: int64 ``[N]``.
            epochs: passes over the images.
            batch_size: images per step.
            recipe: optimizer, learning rate and loss.
            precision: autocast dtype of the network during training, or ``None`` for its own dtype.
            channels_last: whether to train in channels-last memory format.
            generator: on the CPU; seeds weights, order and dropout: the same seed gives the same examiner on the same
                machine. torch's global generator when ``None``.
            progress: called with epochs done and the total.

        Returns:
            The examiner itself.

        Raises:
            InputShapeError: the images have another size, or there are not as many labels.
            InputTypeError: images are neither uint8 nor floating point, or labels are not int64.
            LabelError: a label is not a class.
        """
        require_grey_levels("images", images)
        self._require_size(images)
        require_labels(images, labels, self.classes)
        require_int("epochs", epochs, at_least=1)
        require_int("batch_size", batch_size, at_least=1)
        if len(images) % batch_size == 1:
            images, labels = images[:-1], labels[:-1]  # batch normalisation cannot take a single image
        if not len(images):
            raise InputRangeError("an examiner needs at least two images, of any classes")
        device = images.device if self._device is None else self._device
        with seeded(device, generator):
            reader = _Standardised(
                self._new_network(), *_statistics(images), 255 if images.dtype == torch.uint8 else 1
            ).to(device)
            training.fit(
                reader,
                (images, labels),
                epochs=epochs,
                batch_size=batch_size,
                recipe=recipe,
                precision=precision,
                channels_last=channels_last,
                progress=progress,
            )
        self._fitted, self._cost = reader, {"epochs": epochs, "images": epochs * len(images)}
        return self

    @property
    def classifier(self) -> nn.Module:
        """The trained network with its standardisation: float images ``[N, C, H, W]`` in 0..1 to scores.

        Raises:
            ModelError: the examiner has not been trained.
        """
        return self._trained.with_scale(1).eval()

    def predict(self, images: Tensor, *, scale: int | None = None, batch_size: int = 256) -> ClassGuesses:
        """Guess the class of each image.

        Cost: ``epochs`` and ``images`` (training steps of one image) of the training, ``passes`` (images classified).

        Args:
            images: ``[N, C, H, W]``: uint8, or floating point, also outside 0..1.
            scale: value of white in floating-point images, 255 or 1. ``None`` takes that of the training images,
                because RMT keeps the scale of its input.
            batch_size: images per batch.

        Raises:
            ModelError: the examiner has not been trained, or its network returns something other than scores.
            InputShapeError: the images have another size.
            InputRangeError: the examiner was trained on uint8 images, and receives floating-point images within 0..1
                without ``scale``.
        """
        trained = self._trained
        require_images("images", images)
        self._require_size(images)
        require_int("batch_size", batch_size, at_least=1)
        reader = trained.with_scale(self._scale_of(images, scale, trained.scale))
        guesses = predict(reader, images, classes=self.classes, batch_size=batch_size)
        return ClassGuesses(Level.PUBLIC_DATA, {**self._cost, "passes": len(images)}, guesses)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the trained weights and the statistics of the training images, on the CPU.

        Raises:
            ModelError: the examiner has not been trained.
        """
        trained = self._trained
        state = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in trained.state_dict().items()}
        return {**state, _SCALE: torch.tensor(trained.scale)}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> "DNNExaminer":
        """Load the result of :meth:`state_dict` of an examiner of the same kind, instead of training.

        Returns:
            The examiner itself.

        Raises:
            ModelError: the weights do not match the network, or the scale is missing.
        """
        weights = {name: tensor for name, tensor in state.items() if name != _SCALE}
        if _SCALE not in state or state[_SCALE].numel() != 1 or int(state[_SCALE]) not in (1, 255):
            raise ModelError("the state of an examiner must say which value is white: scale, 1 or 255")
        mean = torch.zeros(1, self.channels, 1, 1)
        reader = _Standardised(self._new_network(), mean, mean.clone(), int(state[_SCALE])).to(self._device or "cpu")
        training.load_weights(reader, weights, "the state of an examiner")
        self._fitted, self._cost = reader.eval(), {"epochs": 0, "images": 0}
        return self

    def _new_network(self) -> nn.Module:
        return self._network or SmallAlexNet(self.channels, self.classes, (self.image_size[0], self.image_size[1]))

    @property
    def _trained(self) -> "_Standardised":
        if self._fitted is None:
            raise ModelError("this examiner has not been trained yet: call fit with original images first")
        return self._fitted

    def _scale_of(self, images: Tensor, scale: int | None, trained: int) -> int:
        if scale not in (None, 1, 255):
            raise InputRangeError(f"scale must be 255 or 1, got {scale!r}")
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise InputTypeError(f"images must be uint8 or floating point, not {images.dtype}")
        if scale is None and trained == 255 and images.is_floating_point():
            low, high = (float(edge) for edge in images.aminmax())
            if low >= 0 and 0 < high <= 1:
                raise InputRangeError(
                    "these floating-point images lie in 0..1, but the examiner was trained on uint8 images: say "
                    "scale=1 if 1 is white in them, scale=255 if they are that dark"
                )
        return trained if scale is None else scale

    def _require_size(self, images: Tensor) -> None:
        if tuple(images.shape[1:]) != (self.channels, *self.image_size):
            raise InputShapeError(
                f"this examiner takes images of {[self.channels, *self.image_size]}, not {list(images.shape[1:])}"
            )


class _Standardised(nn.Module):
    """A network preceded by the standardisation of its training images."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, deviation: Tensor, scale: int) -> None:
        super().__init__()
        self.network, self.scale = network, scale
        self.register_buffer("mean", mean)
        self.register_buffer("deviation", deviation)

    def with_scale(self, scale: int) -> "_Standardised":
        """Return the same for floating-point images of another scale."""
        return _Standardised(self.network, self.mean, self.deviation, scale)

    def forward(self, images: Tensor) -> Tensor:
        """Return the scores of images as they come."""
        white = 255 if images.dtype == torch.uint8 else self.scale
        scores: Tensor = self.network((images.float() / white - self.mean) / self.deviation)
        return scores


def _statistics(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and deviation of each channel, in 0..1, ``[1, C, 1, 1]``; no deviation is below one grey level."""
    white = 255 if images.dtype == torch.uint8 else 1
    sums = torch.zeros(2, images.shape[1], dtype=torch.float64, device=images.device)
    for part in images.split(_AT_ONCE):
        values = part.double() / white
        sums += torch.stack([values.sum((0, 2, 3)), values.square().sum((0, 2, 3))])
    mean, square = sums / (images.numel() // images.shape[1])
    deviation = (square - mean.square()).clamp(min=0).sqrt().clamp(min=1 / 255)
    return mean.float()[None, :, None, None], deviation.float()[None, :, None, None]
