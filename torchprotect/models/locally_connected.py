"""A convolution over patches with a separate kernel for each position."""

import torch
from torch import Tensor, nn


class LocallyConnected(nn.Module):
    """Like ``nn.Conv2d`` with stride equal to the kernel size, but with a separate kernel at each position.

    Args:
        grid_size: rows and columns of patches in an image.
        in_channels: channels of an image.
        out_channels: number of outputs per patch.
        patch_size: ``(h, w)`` in pixels.
        device, dtype: of the weights.

    Attributes:
        weight: ``[positions, out_channels, in_channels, h, w]``, initially zero.
        bias: ``[out_channels]``, the same at all positions; initially zero.

    Shape: ``[N, in_channels, rows * h, columns * w]`` to ``[N, out_channels, rows, columns]``.
    """

    def __init__(
        self,
        grid_size: tuple[int, int],
        in_channels: int,
        out_channels: int,
        patch_size: tuple[int, int],
        *,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.grid_size, self.patch_size = grid_size, patch_size
        sizes = (grid_size[0] * grid_size[1], out_channels, in_channels, *patch_size)
        self.weight = nn.Parameter(torch.zeros(sizes, device=device, dtype=dtype))
        self.bias = nn.Parameter(torch.zeros(out_channels, device=device, dtype=dtype))

    def forward(self, images: Tensor) -> Tensor:
        """Multiply each patch by the kernel of its position."""
        (rows, columns), (height, width) = self.grid_size, self.patch_size
        grid = images.unflatten(-1, (columns, width)).unflatten(-3, (rows, height))  # [N, C, rows, h, columns, w]
        patches = grid.permute(2, 4, 0, 1, 3, 5).flatten(3).flatten(0, 1)  # [positions, N, C * h * w]
        result = torch.baddbmm(self.bias, patches, self.weight.flatten(2).mT)
        return result.permute(1, 2, 0).unflatten(-1, (rows, columns))

    def extra_repr(self) -> str:
        """Show the sizes."""
        return f"grid_size={self.grid_size}, patch_size={self.patch_size}, out_channels={self.weight.shape[1]}"
