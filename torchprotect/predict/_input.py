"""From disguised images to what a network takes."""

from torch import Tensor, nn

from torchprotect.training import device_of, input_dtype_of


def normalise(images: Tensor, scale: int, mean: Tensor, std: Tensor, *, like: nn.Module) -> Tensor:
    """Return ``(images / scale - mean) / std`` on the device and in the dtype of a network.

    Args:
        images: disguised, ``[N, C, H, W]``, any dtype.
        scale: value of white in them.
        mean, std: ``[C or 1, 1, 1]``.
        like: the network.
    """
    device, dtype = device_of(like), input_dtype_of(like)
    inputs = images.to(device, dtype, copy=True)
    return inputs.div_(scale).sub_(mean.to(device, dtype)).div_(std.to(device, dtype))
