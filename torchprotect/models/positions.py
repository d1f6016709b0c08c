"""Find and permute the position embeddings of vision transformers."""

from typing import Any, NamedTuple

from torch import Tensor, nn

_TABLES = ("pos_embed", "pos_embedding", "position_embedding", "position_embeddings")


class Positions(NamedTuple):
    """The position embeddings of a network, by name; ``None`` for a kind that it does not have.

    Attributes:
        table: parameter ``[1, prefix + positions, width]`` that is added to the patches; class and register tokens,
            the prefix, come first.
        rotary: module whose ``get_embed`` returns a row for each patch, ``[..., positions, width]``.
    """

    table: str | None
    rotary: str | None


def find_positions(network: nn.Module, count: int) -> Positions:
    """Find the position embeddings of a vision transformer, by the names that torchvision and timm give them.

    Args:
        network: any network.
        count: number of patches in an image.
    """
    tables = [
        name
        for name, each in network.named_parameters()
        if name.rpartition(".")[2] in _TABLES and each.ndim == 3 and each.shape[1] >= count
    ]
    rotary = [name for name, module in network.named_modules() if hasattr(module, "get_embed")]
    return Positions(tables[0] if tables else None, rotary[0] if rotary else None)


class PermutedRotary(nn.Module):
    """Rotary position embedding for patches in another order.

    Args:
        rotary: has ``get_embed``, like the modules of timm.
        count: number of patches in an image.

    Attributes:
        order: int64 ``[positions]``: the patch at place ``i`` has the coordinates of place ``order[i]``.
    """

    order: Tensor

    def __init__(self, rotary: nn.Module, order: Tensor) -> None:
        super().__init__()
        self.rotary = rotary
        self.register_buffer("order", order)

    def get_embed(self, *args: Any, **kwargs: Any) -> Tensor:
        """Return the embedding of each patch, ``[..., positions, width]``."""
        rows: Tensor = self.rotary.get_embed(*args, **kwargs)  # type: ignore[operator]  # a method, not a module
        return rows.index_select(-2, self.order)

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the rotary embedding, whose shape a network may also ask for."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "rotary":
                raise
            return getattr(self.rotary, name)
