"""Find the layer of a network that reads the picture."""

from typing import Any, TypeAlias

import torch
from torch import Tensor, nn

from torchprotect.errors import ModelError
from torchprotect.models.locally_connected import LocallyConnected

PatchLayer: TypeAlias = nn.Conv2d | nn.Linear
"""A first layer that is linear in patches of the picture: a convolution whose windows do not overlap, or a dense layer
on all pixels, which has one patch."""


def find_first_layer(network: nn.Module, image: Tensor) -> tuple[str, PatchLayer]:
    """Return name and module of the one layer that reads the picture, if it is linear in patches.

    Args:
        network: called once, in its current mode.
        image: image of the shape that the network takes, ``[1, C, H, W]``.

    Raises:
        ModelError: there is no such layer, or the network does not take such an image.
    """
    found: dict[str, nn.Module] = {}
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.Linear)]

    def watch(name: str, module: nn.Module) -> Any:
        def look(_: nn.Module, inputs: tuple[Any, ...]) -> None:
            if inputs and _same_memory(inputs[0], image):
                found[name] = module

        return module.register_forward_pre_hook(look)

    hooks = [watch(name, module) for name, module in layers]
    try:
        with torch.no_grad():
            network(image)
    except Exception as error:  # user code may raise anything
        raise ModelError(f"the network does not take images {list(image.shape)}: {error}") from error
    finally:
        for hook in hooks:
            hook.remove()
    if len(found) != 1:
        names = f"{len(found)} layers do ({', '.join(sorted(found))})" if found else "none does"
        raise ModelError(f"one convolution or dense layer must read the picture as it is, but {names}")
    ((name, layer),) = found.items()
    return name, _require_patches(name, layer, image)


def patch_size_of(layer: PatchLayer, image_size: tuple[int, int]) -> tuple[int, int]:
    """Return the size of the patches that a layer is linear in, ``(h, w)`` in pixels."""
    if isinstance(layer, nn.Linear):
        return image_size
    height, width = layer.kernel_size
    return height, width


def weight_of(layer: PatchLayer, image_size: tuple[int, int]) -> Tensor:
    """Return the weights of a layer as patches, ``[out, C, h, w]``, a view."""
    if isinstance(layer, nn.Conv2d):
        return layer.weight
    return layer.weight.unflatten(1, (-1, *image_size))


def channels_of(network: nn.Module, image_size: tuple[int, int]) -> int:
    """Return the number of channels that a network takes, from its first registered layer that determines it.

    Raises:
        ModelError: no layer determines it.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            return module.in_channels
        if isinstance(module, LocallyConnected):
            return module.weight.shape[2]
        if isinstance(module, nn.Linear) and module.in_features % (image_size[0] * image_size[1]) == 0:
            return module.in_features // (image_size[0] * image_size[1])
    raise ModelError(f"{type(network).__name__} has no first layer for images of {image_size[0]} x {image_size[1]}")


def _require_patches(name: str, layer: nn.Module, image: Tensor) -> PatchLayer:
    if isinstance(layer, nn.Linear):
        if layer.in_features != image.numel():
            raise ModelError(f"the first layer, {name}, is a dense layer on a part of the pixels, not on all of them")
        return layer
    assert isinstance(layer, nn.Conv2d)  # noqa: S101 - no others are watched; tells the type checker
    kernel = f"{layer.kernel_size[0]} x {layer.kernel_size[1]}"
    if tuple(layer.stride) != tuple(layer.kernel_size):
        raise ModelError(
            f"the first layer, {name}, is a convolution of {kernel} pixels with stride {layer.stride[0]}: its windows "
            "overlap and cross the edges of blocks, so that no other weights read disguised pictures"
        )
    padded = layer.padding not in ("valid", 0, (0, 0))
    if padded or layer.groups != 1 or tuple(layer.dilation) != (1, 1):
        raise ModelError(
            f"the first layer, {name}, is a convolution of {kernel} pixels with padding, groups or dilation"
        )
    return layer


def _same_memory(value: Any, image: Tensor) -> bool:
    return isinstance(value, Tensor) and value.untyped_storage().data_ptr() == image.untyped_storage().data_ptr()
