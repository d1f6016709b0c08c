"""The key of OWSD: a random generator network whose weights are secret."""

import copy
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int
from torchprotect.errors import InputRangeError, InputShapeError, KeyFileError
from torchprotect.keys._base import Key, as_size, require_key_tensor, require_root
from torchprotect.keys._random import random_bytes, random_normal, random_permutation, random_uniform
from torchprotect.keys._secret import secret_fields
from torchprotect.models import DCGANGenerator

MIN_RANGE = 16
"""Smallest range of a pixel over the calibration embeddings, in grey levels, averaged over pixels."""

CALIBRATION = 128
"""Number of embeddings drawn if none are given."""

MOST_CALIBRATION = 512
"""Largest number of given embeddings used, chosen at random for each key: they form one batch."""

_CHUNK = 1 << 20
_MAX_EMBEDDING = 1 << 20
_MAX_WIDTH = 1 << 12


@secret_fields("generator", "root")
@dataclass(frozen=True, eq=False, repr=False)
class OWSDKey(Key):
    """A secret random DCGAN generator, never trained, which turns an embedding into an image.

    With DCGAN's usual initialisation the images are flat: they span 0.001 of the range. This key uses He
    initialisation, and batch-norm statistics that are measured once and then kept. The images then span the range, and
    each image is independent of the rest of its batch.

    Attributes:
        embedding_size: length of an embedding.
        image_size: ``(H, W)`` of the generated images, in pixels.
        width: channels before the last layer; each halving of the size doubles it.
        generator: tensors of a :class:`torchprotect.models.DCGANGenerator` by name: float32 weights, and the mean and
            variance of each batch norm.
        root: uint8 ``[32]``, from which sub-keys are derived.

    References:
        Savransky et al., One Way Scrambling by Deconvolution.
    """

    kind: ClassVar[str] = "owsd"
    embedding_size: int
    image_size: tuple[int, int]
    width: int
    generator: Mapping[str, Tensor]
    root: Tensor

    def __post_init__(self) -> None:
        _require_params(self.embedding_size, self.width)
        require_root(self.root)
        expected = _state(self.network)
        if self.generator.keys() != expected.keys():
            raise KeyFileError("the tensors of the key are not those of a generator with its parameters")
        for name, tensor in self.generator.items():
            require_key_tensor(name, tensor, torch.float32, tuple(expected[name].shape))
            if not tensor.isfinite().all() or ("running_var" in name and float(tensor.min()) < 0):
                raise KeyFileError(f"tensor '{name}' of the key holds NaN, infinite or, as variances, negative values")

    @classmethod
    def generate(
        cls,
        *,
        embedding_size: int = 2048,
        image_size: tuple[int, int] = (256, 256),
        width: int = 32,
        embeddings: Tensor | None = None,
    ) -> "OWSDKey":
        """Generate a random generator network from the operating system's entropy.

        Args:
            embedding_size: length of the encoder's embeddings.
            image_size: ``(H, W)`` in pixels; both even.
            width: channels before the last layer. With the default, 256 x 256 images start from 1,024 channels, as in
                the paper.
            embeddings: floating point ``[n, embedding_size]``, n at least 2: embeddings of public images, from which
                the batch-norm statistics are measured. If there are more than 512, a random 512 are used. Without them,
                exponentially distributed embeddings of mean 1 are drawn; images of embeddings on a much smaller scale
                are then flat.

        Raises:
            InputShapeError: the image size is odd, or the embeddings have the wrong shape.
            InputRangeError: a size is out of range, or the images of this key hardly differ.
        """
        _require_params(embedding_size, width)
        size = as_size(image_size)
        seen = _calibration(embeddings, embedding_size)
        network = DCGANGenerator(embedding_size, size, width=width, affine=False)
        _draw_weights(network)
        span = _calibrate(network, seen)
        if not span >= MIN_RANGE:
            raise InputRangeError(
                f"the images of this key span {span:.1f} grey levels over the embeddings, at least {MIN_RANGE} are "
                "needed: embeddings that hardly differ cannot be told apart; give embeddings of various public images"
            )
        return cls(embedding_size, size, width, _state(network), random_bytes(32))

    @cached_property
    def network(self) -> nn.Module:
        """The generator's architecture without weights, on the meta device."""
        with torch.device("meta"):
            return DCGANGenerator(self.embedding_size, self.image_size, width=self.width, affine=False).eval()

    def network_on(self, device: torch.device) -> nn.Module:
        """Return the generator on a device, in eval mode; copies of its tensors there are cached with the key."""
        network = copy.deepcopy(self.network)  # a copy, because threads may share the key
        tensors = {name: self._copy_on(name, tensor, device) for name, tensor in self.generator.items()}
        network.load_state_dict(tensors, strict=False, assign=True)  # batch counts are missing, and not needed
        return network

    @property
    def params(self) -> dict[str, Any]:
        """``embedding_size``, ``image_size`` and ``width``."""
        return {"embedding_size": self.embedding_size, "image_size": list(self.image_size), "width": self.width}

    def tensors(self) -> dict[str, Tensor]:
        """The generator's tensors and ``root``."""
        return {**self.generator, "root": self.root}

    @classmethod
    def from_parts(cls, params: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> "OWSDKey":
        """Rebuild the key."""
        generator = {name: tensor for name, tensor in tensors.items() if name != "root"}
        size = as_size(params["image_size"])
        return cls(params["embedding_size"], size, params["width"], generator, tensors["root"])


def _require_params(embedding_size: Any, width: Any) -> None:
    require_int("embedding_size", embedding_size, at_least=1, at_most=_MAX_EMBEDDING)
    require_int("width", width, at_least=1, at_most=_MAX_WIDTH)


def _calibration(embeddings: Tensor | None, size: int) -> Tensor:
    if embeddings is None:
        return -random_uniform(CALIBRATION, size).log().float()  # non-negative, as embeddings after a ReLU
    if embeddings.ndim != 2 or embeddings.shape[1] != size or len(embeddings) < 2:
        raise InputShapeError(f"embeddings must be [n, {size}] with n of at least 2, not {list(embeddings.shape)}")
    if not embeddings.is_floating_point() or not bool(embeddings.isfinite().all()):
        raise InputRangeError("embeddings must be finite floating-point numbers")
    chosen = random_permutation(len(embeddings))[:MOST_CALIBRATION]
    return embeddings.detach().cpu()[chosen].float()


def _weights(network: nn.Module) -> Iterator[nn.ConvTranspose2d]:
    return (module for module in network.modules() if isinstance(module, nn.ConvTranspose2d))


def _draw_weights(network: nn.Module) -> None:
    """Draw weights by He's rule: variance 2 / n for sums of n products."""
    for layer in _weights(network):
        taps = math.prod(layer.kernel_size) // math.prod(layer.stride) if layer.stride != (1, 1) else 1
        scale = math.sqrt(2 / (layer.in_channels * taps))
        flat = layer.weight.data.view(-1)
        for part in flat.split(_CHUNK):  # in chunks: a weight may have tens of millions of numbers
            part.copy_(random_normal(part.numel()) * scale)


@torch.no_grad()
def _calibrate(network: nn.Module, embeddings: Tensor) -> float:
    """Measure the batch-norm statistics, and return how many grey levels a pixel spans on average."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = None  # the statistics of one pass, not a running mean with the initial ones
    network.train()
    network(embeddings)
    network.eval()
    made = network(embeddings)
    return 255 * float((made.amax(0) - made.amin(0)).mean())


def _state(network: nn.Module) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in network.state_dict().items() if "num_batches" not in name}
