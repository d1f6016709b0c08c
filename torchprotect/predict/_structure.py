"""The layers that replace the original ones in a matched network."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn.utils import skip_init

from torchprotect._inputs import require_int, require_scale
from torchprotect.errors import ModelError
from torchprotect.models.locally_connected import LocallyConnected
from torchprotect.models.positions import PermutedRotary

_ATTRIBUTE = "torchprotect_matched"
_FLAG = "contains_key"  # a buffer, so that weights which leave their network stay marked
_MOST_PATCHES = 1 << 12  # in a row or column


@dataclass(frozen=True)
class MatchedStructure:
    """Which layers :func:`torchprotect.predict.match_key` replaced, without their weights.

    Attributes:
        first_layer: name of the layer that reads the picture.
        grid_size: rows and columns of patches in an image.
        own_kernels: whether that layer has one kernel per patch; otherwise all patches share one.
        rotary: name of the rotary position embedding, if its rows were permuted.
        scale: value of white in the images that the network takes.
        disguise: disguise of these images, as a manifest describes it.
    """

    first_layer: str
    grid_size: tuple[int, int]
    own_kernels: bool
    rotary: str | None
    scale: int
    disguise: dict[str, Any] = field(hash=False)

    @property
    def patches(self) -> int:
        """Number of patches in an image."""
        return self.grid_size[0] * self.grid_size[1]

    def build(self, network: nn.Module) -> None:
        """Replace the layers of a network, with weights still to be loaded, and mark it as matched.

        Raises:
            ModelError: the network has no such layers.
        """
        first, rotary = self._layers(network)
        new = _new_first_layer(first, self.grid_size if self.own_kernels else None)
        new.register_buffer(_FLAG, torch.ones((), dtype=torch.uint8, device=first.weight.device))
        setattr(new, _ATTRIBUTE, self)
        _replace(network, self.first_layer, new)
        if rotary is not None:
            order = torch.arange(self.patches, device=first.weight.device)
            _replace(network, str(self.rotary), PermutedRotary(rotary, order))

    def require_weights(self, network: nn.Module, shapes: Mapping[str, Sequence[int]]) -> None:
        """Check that a file has the weights of the replaced layers, before anything is allocated.

        Args:
            network: a network of the architecture that was matched.
            shapes: shapes of the weights in the file, by name.

        Raises:
            ModelError: the network has no such layers, or the weights of the file do not fit them.
        """
        first, _ = self._layers(network)
        wanted = [self.patches, *first.weight.shape] if self.own_kernels else list(first.weight.shape)
        received = list(shapes.get(f"{self.first_layer}.weight", ()))
        if received != wanted:
            raise ModelError(f"the first layer, {self.first_layer}, needs weights {wanted}, but there are {received}")

    def _layers(self, network: nn.Module) -> tuple[nn.Conv2d | nn.Linear, nn.Module | None]:
        try:
            first = network.get_submodule(self.first_layer)
            rotary = None if self.rotary is None else network.get_submodule(self.rotary)
        except AttributeError as error:
            raise ModelError(f"{type(network).__name__} is not the network that was matched: {error}") from None
        if not isinstance(first, nn.Conv2d | nn.Linear) or (self.own_kernels and isinstance(first, nn.Linear)):
            raise ModelError(
                f"{self.first_layer} of {type(network).__name__} is a {type(first).__name__}, not the layer that was "
                "matched; give the architecture of the original"
            )
        return first, rotary

    def describe(self) -> dict[str, Any]:
        """Return the structure as it is written to the header of a model file."""
        return asdict(self) | {"grid_size": list(self.grid_size)}

    @classmethod
    def from_description(cls, described: Mapping[str, Any]) -> "MatchedStructure":
        """Rebuild the structure from the result of :meth:`describe`.

        Raises:
            KeyError, TypeError, ValueError: the description is not one of a matched structure.
        """
        rows, columns = described["grid_size"]
        for number in (rows, columns):
            require_int("a number of patches", number, at_least=1, at_most=_MOST_PATCHES)
        made = cls(**{**described, "grid_size": (rows, columns)})
        require_scale(made.scale)
        names = (made.first_layer, *(() if made.rotary is None else (made.rotary,)))
        if not all(isinstance(name, str) and name for name in names):
            raise ValueError("a layer has no name")
        if not isinstance(made.own_kernels, bool) or not isinstance(made.disguise, dict):
            raise TypeError("own_kernels or disguise is of another type")
        return made


def matched_structure(network: nn.Module) -> MatchedStructure | None:
    """Return what was replaced in a network that was matched, or contains a matched one; ``None`` if nothing was.

    Raises:
        ModelError: weights are marked as matched, but the structure is no longer known.
    """
    modules = dict(network.named_modules())
    rotary = next((name for name, module in modules.items() if isinstance(module, PermutedRotary)), None)
    for name, module in modules.items():
        found: MatchedStructure | None = getattr(module, _ATTRIBUTE, None)
        if found is not None:
            return replace(found, first_layer=name, rotary=rotary)
    flagged = [name for name in network.state_dict() if name.rpartition(".")[2] == _FLAG]
    own = [name for name, module in modules.items() if isinstance(module, LocallyConnected)]
    if flagged or own or rotary is not None:
        raise ModelError(
            f"{(*flagged, *own, rotary)[0]} comes from a network that was matched to a key, but the layers around it "
            "do not: save the network that match_key returned, or one that has it inside"
        )
    return None


def _new_first_layer(first: nn.Conv2d | nn.Linear, grid_size: tuple[int, int] | None) -> nn.Module:
    """Return a layer of the same sizes with a bias and, if there is a grid, a kernel for each position.

    Its weights are not drawn, because that would change the random state.
    """
    kind: dict[str, Any] = {"device": first.weight.device, "dtype": first.weight.dtype}
    if isinstance(first, nn.Linear):
        return skip_init(nn.Linear, first.in_features, first.out_features, **kind)
    size = (first.kernel_size[0], first.kernel_size[1])
    if grid_size is None:
        return skip_init(nn.Conv2d, first.in_channels, first.out_channels, size, size, **kind)
    return LocallyConnected(grid_size, first.in_channels, first.out_channels, size, **kind)


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, last = name.rpartition(".")
    module.train(network.training)
    setattr(network.get_submodule(parent), last, module)
