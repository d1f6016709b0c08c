"""What a matched network has in place of the layers of the original."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import nn

from torchprotect._inputs import require_int
from torchprotect.errors import ModelError
from torchprotect.models.locally_connected import LocallyConnected
from torchprotect.models.positions import PermutedRotary

_ATTRIBUTE = "torchprotect_matched"
_MOST_PATCHES = 1 << 12  # in a row or column


@dataclass(frozen=True)
class MatchedStructure:
    """Which layers :func:`torchprotect.predict.match_key` replaced; the weights are not in it.

    Attributes:
        first_layer: name of the layer that reads the picture.
        grid_size: rows and columns of patches in an image.
        own_kernels: whether that layer has a kernel for each patch; otherwise they share one.
        rotary: name of the rotary position embedding, if its rows were permuted.
    """

    first_layer: str
    grid_size: tuple[int, int]
    own_kernels: bool
    rotary: str | None

    @property
    def patches(self) -> int:
        """Number of patches in an image."""
        return self.grid_size[0] * self.grid_size[1]

    def build(self, network: nn.Module) -> None:
        """Replace the layers of a network, with weights that are still to be loaded, and mark it as matched.

        Raises:
            ModelError: it has no such layers.
        """
        try:
            first = network.get_submodule(self.first_layer)
            rotary = None if self.rotary is None else network.get_submodule(self.rotary)
        except AttributeError as error:
            raise ModelError(f"{type(network).__name__} is not the network that was matched: {error}") from None
        _replace(network, self.first_layer, _new_first_layer(first, self.grid_size if self.own_kernels else None))
        if rotary is not None:
            order = torch.arange(self.patches, device=next(network.parameters()).device)
            _replace(network, str(self.rotary), PermutedRotary(rotary, order))
        setattr(network, _ATTRIBUTE, self)

    def describe(self) -> dict[str, Any]:
        """Return it as it stands in the header of a model file."""
        return asdict(self) | {"grid_size": list(self.grid_size)}

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> "MatchedStructure":
        """Rebuild it.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        rows, columns = described["grid_size"]
        for number in (rows, columns):
            require_int("a number of patches", number, at_least=1, at_most=_MOST_PATCHES)
        return cls(**{**described, "grid_size": (rows, columns)})


def matched_structure(network: nn.Module) -> MatchedStructure | None:
    """Return what was replaced in a matched network, which may be a part of a larger one; ``None`` if there is none."""
    for name, module in network.named_modules():
        found: MatchedStructure | None = getattr(module, _ATTRIBUTE, None)
        if found is not None and name:
            rotary = None if found.rotary is None else f"{name}.{found.rotary}"
            return replace(found, first_layer=f"{name}.{found.first_layer}", rotary=rotary)
        if found is not None:
            return found
    return None


def _new_first_layer(first: nn.Module, grid_size: tuple[int, int] | None) -> nn.Module:
    """Return a layer of the same sizes that has a bias, and a kernel for each position where there is a grid."""
    if isinstance(first, nn.Linear):
        kind: dict[str, Any] = {"device": first.weight.device, "dtype": first.weight.dtype}
        return nn.Linear(first.in_features, first.out_features, **kind)
    if not isinstance(first, nn.Conv2d):
        raise ModelError(f"the first layer must be a convolution or a dense layer, not {type(first).__name__}")
    kind = {"device": first.weight.device, "dtype": first.weight.dtype}
    size = (first.kernel_size[0], first.kernel_size[1])
    if grid_size is None:
        return nn.Conv2d(first.in_channels, first.out_channels, size, size, **kind)
    return LocallyConnected(grid_size, first.in_channels, first.out_channels, size, **kind)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    module.train(network.training)
    setattr(network.get_submodule(parent), last, module)
