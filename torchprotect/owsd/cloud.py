"""Clouds: services or models that take scrambled images and return vectors."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int, require_number
from torchprotect.errors import CloudError, ModelError
from torchprotect.owsd._failures import CloudBusyError
from torchprotect.owsd._inference_protocol import InferenceProtocolCloud
from torchprotect.owsd._prepare import Preparation, require_images
from torchprotect.owsd.ledger import Ledger
from torchprotect.training import device_of, eval_mode, input_dtype_of, scores_of

__all__ = ["Cloud", "CloudBusyError", "InferenceProtocolCloud", "ModelCloud", "ask"]

LONGEST_WAIT = 300.0
"""Longest pause of :func:`ask`, in seconds; it gives up if the cloud asks for a longer one."""


class Cloud(Protocol):
    """Interface of a cloud: a callable that maps uint8 images ``[N, 3, H, W]`` on the CPU to float vectors ``[N, V]``.

    V is the same for all images. It raises :class:`~torchprotect.errors.CloudError` with ``again=True`` if a retry may
    succeed; any other error ends the run.
    """

    def __call__(self, images: Tensor, /) -> Tensor:
        """Return a vector for each image."""
        ...


@dataclass(frozen=True, eq=False)
class ModelCloud:
    """A local network that plays the cloud.

    Attributes:
        model: takes normalised float images, returns scores ``[N, V]``. It runs in eval mode on its own device;
            afterwards each module is put back into its own mode.
        size: ``(height, width)`` to resize images to, bilinearly with antialiasing; no resizing when ``None``.
        mean: subtracted per channel, on the 0..1 scale.
        std: divided by per channel, on the 0..1 scale.
        softmax: whether to turn scores into probabilities; a model that ends in a softmax needs ``False``.
        batch_size: images per forward pass.
    """

    model: nn.Module
    size: tuple[int, int] | None = None
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    softmax: bool = True
    batch_size: int = 64

    def __post_init__(self) -> None:
        Preparation(self.size, self.mean, self.std)
        require_int("batch_size", self.batch_size, at_least=1)

    @torch.no_grad()
    def __call__(self, images: Tensor, /) -> Tensor:
        """Return the model's vectors, float32 ``[N, V]`` on the CPU.

        Raises:
            InputTypeError, InputShapeError: images are not uint8 ``[N, 3, H, W]``.
            ModelError: the model does not return finite scores ``[N, V]``, with the same V for all batches.
        """
        require_images(images)
        with eval_mode(self.model):
            vectors = [self._vectors(part) for part in images.split(self.batch_size)]
        lengths = sorted({part.shape[1] for part in vectors})
        if len(lengths) > 1:
            raise ModelError(f"the model returns vectors of different lengths: {lengths}")
        return torch.cat(vectors)

    def _vectors(self, images: Tensor) -> Tensor:
        device, dtype = device_of(self.model), input_dtype_of(self.model)
        prepared = Preparation(self.size, self.mean, self.std).floats(images.to(device))
        scores = scores_of(self.model, prepared.to(dtype)).float()
        if not scores.numel() or not bool(scores.isfinite().all()):
            raise ModelError("the model's scores are NaN, infinite or missing for some images")
        return (scores.softmax(1) if self.softmax else scores).cpu()


def ask(
    cloud: Cloud,
    images: Tensor,
    *,
    ledger: Ledger,
    fingerprint: str,
    retries: int = 3,
    backoff: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> Tensor:
    """Send one batch to a cloud, with retries; the ledger counts each attempt before it is made.

    A failed attempt counts too, because the cloud may have seen the images. Keep batches as small as the cloud's own
    (``InferenceProtocolCloud.batch_size``): otherwise a failure in a later part repeats the earlier ones.

    Args:
        cloud: the cloud to query.
        images: uint8 ``[N, 3, H, W]``, scrambled.
        ledger: counts the images.
        fingerprint: fingerprint of the key that they were scrambled with.
        retries: attempts after the first one.
        backoff: seconds before the second attempt, doubled for each further one, times a random number in 0.5..1. The
            cloud's own ``Retry-After`` is respected if it is longer and at most :data:`LONGEST_WAIT`.
        sleep: called with the seconds to pause.

    Returns:
        float32 ``[N, V]`` on the CPU, finite.

    Raises:
        InputTypeError, InputShapeError, InputRangeError: images, ``retries`` or ``backoff`` are invalid.
        LedgerError: the key's bound would be exceeded, or the ledger cannot be used; nothing was sent in this attempt.
        CloudError: all attempts failed, a retry cannot help, or the answer is not one finite vector for each image.
    """
    require_images(images)
    require_int("retries", retries, at_least=0)
    require_number("backoff, in seconds,", backoff, at_least=0)
    images = images.detach().cpu()
    attempt = 0
    while True:
        ledger.reserve(fingerprint, len(images))
        try:
            return _vectors(cloud(images.clone()), len(images))  # a copy, because the cloud may change its input
        except CloudError as error:
            wanted = error.wait if isinstance(error, CloudBusyError) else 0.0
            if not error.again or attempt == retries or wanted > LONGEST_WAIT:
                raise
        pause = min(backoff * 2.0 ** min(attempt, 30), LONGEST_WAIT)
        sleep(max(pause * random.SystemRandom().uniform(0.5, 1), wanted))
        attempt += 1


def _vectors(answer: Any, count: int) -> Tensor:
    if not isinstance(answer, Tensor) or answer.ndim != 2 or len(answer) != count or not answer.shape[1]:
        received = list(answer.shape) if isinstance(answer, Tensor) else type(answer).__name__
        raise CloudError(f"the cloud must answer with vectors [{count}, V], not {received}")
    if not answer.is_floating_point():
        raise CloudError(f"the cloud must answer with floating-point vectors, not {answer.dtype}")
    vectors = answer.detach().to("cpu", torch.float32)
    if not bool(vectors.isfinite().all()):
        raise CloudError("some of the cloud's vectors are NaN or infinite")
    return vectors
