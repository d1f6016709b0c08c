"""Recover a key from the weights of a network that was matched to it."""

from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from torchprotect._inputs import PerChannel, per_channel, require_scale, type_name
from torchprotect.attacks._inputs import require_images
from torchprotect.attacks.disguise._assignment import assign
from torchprotect.attacks.disguise._blocks import cut, undo_order
from torchprotect.attacks.disguise._inputs import require_channels
from torchprotect.attacks.disguise._rows import Rows
from torchprotect.attacks.protocol import Attack, MatchedNetworks, Need, Seen, only_for
from torchprotect.attacks.results import Level, Reconstruction
from torchprotect.attacks.scheme import Scheme, require_preserved
from torchprotect.attacks.scores import PICTURES
from torchprotect.errors import InputRangeError, InputShapeError, InputTypeError, ModelError
from torchprotect.models.first_layer import PatchLayer, find_first_layer, patch_size_of, weight_of
from torchprotect.models.locally_connected import LocallyConnected
from torchprotect.models.positions import PermutedRotary, find_positions
from torchprotect.ops.blocks import from_blocks, to_blocks
from torchprotect.training import device_of, eval_mode

_OUTPUTS = 128  # outputs of the first layer to use; more add no information


@dataclass(frozen=True, eq=False, repr=False)
class KeyFromWeights(Reconstruction):
    """A key recovered from network weights, and the images that it restores.

    Attributes:
        order: int64 ``[positions]``: the original block at each position.
        matrices: float64 ``[positions, channels or 1, m, m]``, or one instead of positions if they share it; ``None``
            if the disguise has no matrices.
    """

    order: Tensor
    matrices: Tensor | None = field(metadata={"json": False})


def read_key_from_weights(
    matched: nn.Module,
    original: nn.Module,
    target: Tensor,
    *,
    scheme: Scheme,
    std: PerChannel,
    scale: int = 1,
) -> KeyFromWeights:
    """Recover the key from a network that :func:`torchprotect.predict.match_key` made from a public one (level L1).

    The order is found by comparing the rows of the position embeddings, or the columns of a first layer that sees all
    pixels. The kernels of the first layer then give each matrix by least squares. Fine-tuning does not prevent the
    attack.

    Cost: ``positions``, ``equations`` (weights for one row of a matrix).

    Args:
        matched: network for disguised images.
        original: the network that it was made from.
        target: disguised images to restore, ``[N, C, H, W]``.
        scheme: scheme of ``BlockPermute`` or ``RMTDisguise``.
        std: standard deviation of the original network's normalisation, on the scale of 0..1: one number, or one for
            each channel. It is public, like that network.
        scale: value of white in the images that ``matched`` takes, 1 or 255.

    Raises:
        InputTypeError: ``matched`` or ``original`` is not a network.
        InputRangeError: the scheme is of another disguise, or a number is out of range.
        ModelError: the networks do not belong together.
    """
    require_preserved(scheme, "read_key_from_weights", "values", "energies")
    for name, each in (("matched", matched), ("original", original)):
        if not isinstance(each, nn.Module):
            raise InputTypeError(f"{name} must be a torch.nn.Module, got {type_name(each)}")
    require_images("target", target)
    require_channels(scheme.channels, target)
    require_scale(scale)
    if scheme.image_size not in (None, tuple(target.shape[-2:])):
        raise InputShapeError(f"the scheme is of images {scheme.image_size}, but target is {list(target.shape)}")
    images = torch.zeros(1, *target.shape[1:], device=device_of(original), dtype=_dtype(original))
    with eval_mode(original):
        name, layer = find_first_layer(original, images)
    pair = _Weights.of(matched, layer, name, (target.shape[-2], target.shape[-1]))
    channels = target.shape[1]
    pair = replace(pair, plain=pair.plain / per_channel("std", std, channels), disguised=pair.disguised * scale)
    _require_blocks(scheme, pair.patch, (target.shape[-2], target.shape[-1]))
    order = _read_order(matched, original, pair, scheme) if scheme.permuted else torch.arange(_positions(pair, scheme))
    linear = _read_matrices(pair, scheme, order) if scheme.name == "RMTDisguise" else None
    opened = _open(target, scheme, order, linear)
    equations = min(_OUTPUTS, len(pair.plain)) * channels * scheme.blocks[0]
    cost = {"positions": len(order), "equations": equations}
    matrices = None if linear is None else _matrices(linear, scheme)
    return KeyFromWeights(Level.PUBLIC_DATA, cost, opened, order, matrices)


@dataclass(frozen=True, eq=False, repr=False)
class _Weights:
    """Weights of both first layers, arranged as images: float64 ``[out, C, H, W]``.

    Attributes:
        plain: weights of the original, repeated for each patch.
        disguised: weights of the matched network.
        patch: size of a patch.
    """

    plain: Tensor
    disguised: Tensor
    patch: tuple[int, int]

    @classmethod
    def of(cls, matched: nn.Module, layer: PatchLayer, name: str, size: tuple[int, int]) -> "_Weights":
        try:
            new = matched.get_submodule(name)
        except AttributeError:
            raise ModelError(
                f"the matched network has no layer {name}, which reads the picture in the original"
            ) from None
        patch = patch_size_of(layer, size)
        repeated = (size[0] // patch[0], size[1] // patch[1])
        plain = weight_of(layer, size).detach()[:_OUTPUTS].cpu().double().tile(1, 1, *repeated)
        if isinstance(new, LocallyConnected):
            disguised = from_blocks(new.weight.detach()[:, :_OUTPUTS].cpu().double().movedim(0, 2), size)
        elif isinstance(new, nn.Conv2d | nn.Linear):
            disguised = weight_of(new, size).detach()[:_OUTPUTS].cpu().double().tile(1, 1, *repeated)
        else:
            raise ModelError(f"layer {name} of the matched network is a {type_name(new)}, not one that reads patches")
        if plain.shape != disguised.shape:
            raise ModelError(
                f"layer {name} has weights {list(plain.shape)} in the original and {list(disguised.shape)} in the "
                "matched network: one was not made from the other"
            )
        return cls(plain, disguised, patch)


def _read_order(matched: nn.Module, original: nn.Module, weights: _Weights, scheme: Scheme) -> Tensor:
    """Return the order of the blocks, int64 ``[positions]``."""
    size = (weights.plain.shape[-2], weights.plain.shape[-1])
    grid = (size[0] // weights.patch[0], size[1] // weights.patch[1])
    if grid == (1, 1):
        return assign(_misfit_of_blocks(weights, scheme))
    found = find_positions(original, grid[0] * grid[1])
    per_block = (scheme.blocks[0] // weights.patch[0], scheme.blocks[1] // weights.patch[1])
    if found.table is not None:
        rows = [_by_block(each.get_parameter(found.table), grid, per_block) for each in (original, matched)]
        return assign(torch.cdist(rows[1], rows[0]))
    rotary = None if found.rotary is None else matched.get_submodule(found.rotary)
    if isinstance(rotary, PermutedRotary):
        places = rotary.order.cpu().reshape(1, *grid)
        first = to_blocks(places, per_block).flatten(-2)[0, :, 0]  # the top left patch of each block
        row, column = first // grid[1] // per_block[0], first % grid[1] // per_block[1]
        return row * (grid[1] // per_block[1]) + column
    raise ModelError("the networks have no position embeddings of torchvision or timm to read the order from")


def _by_block(table: Tensor, grid: tuple[int, int], per_block: tuple[int, int]) -> Tensor:
    """Return the position embeddings of the patches of each block in a row, float64 ``[positions, numbers]``."""
    rows = table.detach().cpu().double()[0, -grid[0] * grid[1] :]  # class and register tokens come first
    blocks = to_blocks(rows.mT.unflatten(1, grid), per_block)  # [width, positions, h, w]
    return blocks.movedim(1, 0).flatten(1)


def _misfit_of_blocks(weights: _Weights, scheme: Scheme) -> Tensor:
    """Return how badly the block at each position matches each original one, ``[positions, blocks]``."""
    blocks = [cut(each, scheme.blocks) for each in (weights.plain, weights.disguised)]  # [positions, out, C, h, w]
    if scheme.name == "BlockPermute":
        plain, disguised = (each.flatten(1) for each in blocks)
        return torch.cdist(disguised, plain)
    left = scheme.side == "left"
    plain, disguised = ((each.mT if left else each).flatten(1, -2) for each in blocks)  # [positions, rows, m]
    basis = torch.linalg.qr(plain).Q  # the space that matrices can reach from the rows of each block
    explained = torch.einsum("brm,prn->pbmn", basis, disguised).square().sum((-1, -2))
    return disguised.square().sum((-1, -2))[:, None] - explained


def _read_matrices(weights: _Weights, scheme: Scheme, order: Tensor) -> Tensor:
    """Return the maps from disguised rows to plain ones, float64 ``[groups, m, m]``.

    Weights for disguised rows are those for plain ones times the transpose of the inverse matrix.
    """
    rows = Rows(scheme)
    plain = rows.of(weights.plain)
    disguised = rows.of(undo_order(weights.disguised, order, scheme.blocks) if scheme.permuted else weights.disguised)
    transposed = torch.linalg.lstsq(plain, disguised).solution
    if scheme.matrix == "orthogonal":  # the nearest one: fine-tuning moves weights a little
        u, _, vh = torch.linalg.svd(transposed)
        transposed = u @ vh
    return transposed.mT


def _matrices(linear: Tensor, scheme: Scheme) -> Tensor:
    """Return the key's matrices; from the left they multiply columns, which are rows here."""
    found = torch.linalg.inv(linear)
    return (found.mT if scheme.side == "left" else found).reshape(-1, scheme.channels or 1, *linear.shape[1:])


def _open(target: Tensor, scheme: Scheme, order: Tensor, linear: Tensor | None) -> Tensor:
    images = undo_order(target, order, scheme.blocks) if scheme.permuted else target
    if linear is None:
        return images
    rows = Rows(scheme)
    opened = rows.lay(rows.of(images).double() @ linear.to(images.device), images.shape)
    white = scheme.white or (255 if float(opened.max()) > 2 else 1)
    opened = opened - scheme.noise / 2 * white / 255
    return opened.round().clamp(0, 255).to(torch.uint8) if white == 255 else opened.clamp(0, 1).float()


def _positions(weights: _Weights, scheme: Scheme) -> int:
    return len(cut(weights.plain[:1], scheme.blocks))


def _require_blocks(scheme: Scheme, patch: tuple[int, int], size: tuple[int, int]) -> None:
    """Check that blocks and patches fit together as in a matched network."""
    h, w = scheme.blocks
    crossed = scheme.permuted and (h % patch[0] or w % patch[1])
    cut = scheme.name == "RMTDisguise" and (patch[0] % h or patch[1] % w)
    if cut or (crossed and patch != size):
        raise InputRangeError(f"a network of patches {patch} cannot have been matched to blocks {scheme.blocks}")


def _dtype(network: nn.Module) -> torch.dtype:
    return next((each.dtype for each in network.parameters()), torch.float32)


def _run(seen: Seen) -> KeyFromWeights:
    networks: MatchedNetworks = seen.need(Need.NETWORKS)
    matched, original, std, scale = networks
    return read_key_from_weights(matched, original, seen.target, scheme=seen.scheme, std=std, scale=scale)


KEY_FROM_WEIGHTS = Attack(
    name="read_key_from_weights",
    title="Key from weights",
    about="compares a network matched to the key with its public original",
    finds="picture",
    level=Level.PUBLIC_DATA,
    run=_run,
    score=PICTURES,
    needs=frozenset({Need.NETWORKS}),
    holder="Someone who has the matched network and its public original, but no key,",
    reason=only_for("BlockPermute", "RMTDisguise"),
)
