"""A disguise as a linear map."""

from dataclasses import dataclass

from torch import Tensor

from torchprotect import ops
from torchprotect._inputs import type_name
from torchprotect.errors import InputRangeError, InputTypeError
from torchprotect.transforms import BlockPermute, Disguise, RMTDisguise


@dataclass(frozen=True, repr=False, eq=False)
class LinearDisguise:
    """A disguise as the map ``D (X + noise)`` of an image ``X``, with a linear ``D`` that works block by block.

    Attributes:
        image_size: ``(H, W)`` in pixels.
        block_size: ``(h, w)`` in pixels.
        order: int64 ``[positions]``, or ``None`` if blocks keep their places.
        matrices: float64 ``[positions, C or 1, m, m]``, or ``None`` if pixels do not change inside their block.
        left: whether matrices multiply from the left.
        noise: mean of the noise on the scale of 0..1.
        shared: whether pixels change in the same way at each position.
    """

    image_size: tuple[int, int]
    block_size: tuple[int, int]
    order: Tensor | None
    matrices: Tensor | None
    left: bool
    noise: float
    shared: bool

    @classmethod
    def of(cls, disguise: Disguise) -> "LinearDisguise":
        """Return the linear map of a disguise.

        Raises:
            InputTypeError: it is not linear.
            InputRangeError: it is an inverse.
        """
        if not isinstance(disguise, BlockPermute | RMTDisguise):
            if not isinstance(disguise, Disguise):
                raise InputTypeError(
                    "disguise must be a BlockPermute or RMTDisguise of torchprotect.transforms, got "
                    f"{type(disguise).__module__}.{type_name(disguise)}; transforms.from_key makes one of a key"
                )
            raise InputTypeError(
                f"{type(disguise).__name__} cannot be matched: it is not linear, so no weights give on its images what "
                "a network gives on plain ones; fine-tune the network on disguised images instead"
            )
        if disguise.inverse:
            raise InputRangeError("disguise must be the one that made the images, not its inverse")
        key = disguise.key
        if isinstance(disguise, BlockPermute):
            return cls(key.image_size, key.block_size, disguise.key.order, None, False, 0.0, True)
        order = None if disguise.permutation is None else disguise.permutation.order
        matrices, left = disguise.key.matrices.double(), disguise.key.side == "left"
        return cls(key.image_size, key.block_size, order, matrices, left, disguise.noise / 2 / 255, disguise.key.shared)

    def __call__(self, images: Tensor) -> Tensor:
        """Disguise images, float64 ``[N, C, H, W]`` on the scale of 0..1, with noise at its mean."""
        return self._mapped(images + self.noise, self.matrices)

    def for_weights(self, weights: Tensor) -> Tensor:
        """Return weights that give the same result for disguised images as ``weights`` for plain ones.

        With ``<W, X>`` for the sum over all pixels: ``<for_weights(W), D X> = <W, X>``.

        Args:
            weights: float64 ``[out, C, H, W]``, as many as an image has pixels.
        """
        inverses = None if self.matrices is None else self.matrices.inverse().mT.contiguous()
        return self._mapped(weights, inverses)

    def _mapped(self, images: Tensor, matrices: Tensor | None) -> Tensor:
        if matrices is not None:
            return ops.block_matmul(images, matrices, self.block_size, left=self.left, order=self.order)
        assert self.order is not None  # noqa: S101 - there is one of the two; tells the type checker
        return ops.block_permute(images, self.order, self.block_size)
