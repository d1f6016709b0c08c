"""Transfer a disguise to the weights of a network."""

import copy
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from torchprotect import ops
from torchprotect.errors import KeySizeError, ModelError
from torchprotect.models.first_layer import PatchLayer, find_first_layer, patch_size_of, weight_of
from torchprotect.models.locally_connected import LocallyConnected
from torchprotect.models.positions import PermutedRotary, find_positions
from torchprotect.ops.blocks import to_blocks
from torchprotect.predict._linear import LinearDisguise
from torchprotect.predict._structure import MatchedStructure

_TOLERANCE = 1e-4  # largest difference of outputs in float64, relative to how much they vary between images
_ROUNDING = 1e-14  # the same, relative to the outputs themselves
_IMAGES = 4
_JITTER = 0.05  # standard deviation of what is added to weights for the comparison
_OUT_AT_ONCE = 64  # bounds the memory: rows of weights as large as an image


class Matcher:
    """Transfers a disguise to weights.

    Args:
        disguise: as a linear map.
        mean, std: normalisation of plain images, ``[C, 1, 1]``.
        scale: scale of disguised images.
        described: the disguise, as a manifest describes it.
    """

    def __init__(
        self, disguise: LinearDisguise, mean: Tensor, std: Tensor, scale: int, described: dict[str, Any]
    ) -> None:
        self._disguise, self._mean, self._std, self._scale = disguise, mean, std, scale
        self._described = described

    def structure(self, network: nn.Module, image: Tensor) -> MatchedStructure:
        """Find the layers to replace."""
        trial = _trial_of(network)
        name, layer = find_first_layer(trial, image.double())
        size, patch = self._disguise.image_size, patch_size_of(layer, self._disguise.image_size)
        if size[0] % patch[0] or size[1] % patch[1]:
            raise KeySizeError(f"patches of {_by(patch)} pixels do not divide the key's images of {_by(size)}")
        grid = (size[0] // patch[0], size[1] // patch[1])
        if grid == (1, 1):
            return MatchedStructure(name, grid, False, None, self._scale, self._described)
        self._require_fit(patch)
        permuted = self._disguise.order is not None
        rotary = find_positions(trial, grid[0] * grid[1]).rotary if permuted else None
        return MatchedStructure(name, grid, not self._disguise.shared, rotary, self._scale, self._described)

    def _require_fit(self, patch: tuple[int, int]) -> None:
        block = self._disguise.block_size
        if self._disguise.order is not None and (block[0] % patch[0] or block[1] % patch[1]):
            raise KeySizeError(
                f"permuted blocks of {_by(block)} pixels do not hold whole patches of {_by(patch)}; make a key with "
                f"block_size={patch}"
            )
        if self._disguise.matrices is not None and (patch[0] % block[0] or patch[1] % block[1]):
            raise KeySizeError(
                f"matrices of blocks of {_by(block)} pixels reach over the edges of patches of {_by(patch)}; make a "
                f"key with block_size={patch}"
            )

    @torch.no_grad()
    def match(self, original: nn.Module, matched: nn.Module, structure: MatchedStructure) -> None:
        """Turn a copy of a network into one that reads disguised pictures."""
        structure.build(matched)
        first = original.get_submodule(structure.first_layer)
        assert isinstance(first, nn.Conv2d | nn.Linear)  # noqa: S101 - found before; tells the type checker
        self._fill_first_layer(first, matched.get_submodule(structure.first_layer), structure)
        if self._disguise.order is not None and structure.patches > 1:
            self._permute_positions(matched, structure)

    def _fill_first_layer(self, first: PatchLayer, new: nn.Module, structure: MatchedStructure) -> None:
        plain = weight_of(first, self._disguise.image_size).detach().cpu().double() / self._std
        shift = (plain * (self._mean + self._disguise.noise)).flatten(1).sum(1)
        bias = -shift if first.bias is None else first.bias.detach().cpu().double() - shift
        assert isinstance(new, nn.Conv2d | nn.Linear | LocallyConnected)  # noqa: S101 - built before
        assert new.bias is not None  # noqa: S101 - built with one
        new.bias.copy_(bias)
        if isinstance(new, LocallyConnected):
            for start in range(0, len(plain), _OUT_AT_ONCE):
                rows = slice(start, start + _OUT_AT_ONCE)
                new.weight[:, rows] = (self._kernels(plain[rows], self._disguise) / self._scale).to(new.weight)
        else:
            kernels = self._kernels(plain, self._for_one_patch(structure, plain))
            new.weight.copy_((kernels[0] / self._scale).reshape(new.weight.shape))
        for parameter in (new.weight, new.bias):
            parameter.requires_grad_(first.weight.requires_grad)

    def _for_one_patch(self, structure: MatchedStructure, plain: Tensor) -> LinearDisguise:
        """Return the effect of the disguise on each patch, which is the same for all patches."""
        own = self._disguise
        if structure.patches == 1:
            return own
        height, width = plain.shape[-2:]
        if own.matrices is None:
            block, order = (height, width), torch.arange(1)
            return replace(own, image_size=block, block_size=block, order=order)
        blocks = height // own.block_size[0] * (width // own.block_size[1])
        return replace(
            own, image_size=(height, width), order=None, matrices=own.matrices[:1].expand(blocks, -1, -1, -1)
        )

    def _kernels(self, plain: Tensor, disguise: LinearDisguise) -> Tensor:
        """Return the kernel of each position, ``[positions, out, C, h, w]``."""
        height, width = plain.shape[-2:]
        tiled = plain.tile(1, 1, disguise.image_size[0] // height, disguise.image_size[1] // width)
        return to_blocks(disguise.for_weights(tiled), (height, width)).movedim(2, 0)

    def _permute_positions(self, matched: nn.Module, structure: MatchedStructure) -> None:
        order = self._patch_order(structure)
        positions = find_positions(matched, structure.patches)
        if positions.table is not None:
            table = matched.get_parameter(positions.table)
            prefix = table.shape[1] - structure.patches
            table[:, prefix:] = table[:, prefix:][:, order.to(table.device)]
        if structure.rotary is not None:
            rotary = matched.get_submodule(structure.rotary)
            assert isinstance(rotary, PermutedRotary)  # noqa: S101 - built before; tells the type checker
            rotary.order.copy_(order)

    def _patch_order(self, structure: MatchedStructure) -> Tensor:
        """Return the original place of each patch of a disguised image, int64 ``[patches]``."""
        own, (rows, columns) = self._disguise, structure.grid_size
        assert own.order is not None  # noqa: S101 - asked before; tells the type checker
        in_block = (rows * own.block_size[0] // own.image_size[0], columns * own.block_size[1] // own.image_size[1])
        return ops.block_permute(torch.arange(rows * columns).reshape(1, rows, columns), own.order, in_block).flatten()

    def require_equal(self, network: nn.Module, structure: MatchedStructure) -> None:
        """Compare original and copy in float64, with weights that are nowhere zero.

        Raises:
            ModelError: they differ.
        """
        generator = torch.Generator().manual_seed(0)
        original = _trial_of(network)
        with torch.no_grad():
            for parameter in original.parameters():
                parameter.add_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64), alpha=_JITTER)
            matched = copy.deepcopy(original)
            self.match(original, matched, structure)
            sizes = (_IMAGES, len(self._mean), *self._disguise.image_size)
            images = torch.rand(sizes, generator=generator, dtype=torch.float64)
            wanted = _outputs_of(original((images - self._mean) / self._std))
            given = _outputs_of(matched(self._disguise(images) * self._scale))
        if not _are_equal(wanted, given):
            raise ModelError(
                f"{type(network).__name__} {self._why_unequal()}; fine-tune it on disguised images instead"
            )

    def _why_unequal(self) -> str:
        if self._disguise.order is None:
            return "reads the picture elsewhere than in its first layer too"
        return (
            "needs patches in their places after its first layer, as convolutions, windows and token mixing do; only "
            "position embeddings of torchvision and timm can be permuted. Use a key without a permutation"
        )


def copy_of(network: nn.Module) -> nn.Module:
    """Return a copy of a network.

    Raises:
        ModelError: it cannot be copied.
    """
    if any(each.is_meta for each in network.parameters()):
        raise ModelError("the network is on the meta device, without weights: load them first")
    try:
        return copy.deepcopy(network)
    except RuntimeError as error:
        raise ModelError(f"the network cannot be copied: {error}; remove its parametrisations first") from error


def _trial_of(network: nn.Module) -> nn.Module:
    return copy_of(network).cpu().double().eval()


def _outputs_of(result: object) -> Tensor:
    """Return the outputs of a network for each image, float64 ``[N, outputs]``."""
    if not isinstance(result, Tensor) or not result.is_floating_point():
        received = str(result.dtype) if isinstance(result, Tensor) else type(result).__name__
        raise ModelError(f"the network must return a floating-point tensor, got {received}")
    return result.double().flatten(1)


def _are_equal(wanted: Tensor, given: Tensor) -> bool:
    """Compare outputs relative to their variation between images, because a large constant would hide differences.

    Raises:
        ModelError: nothing varies, so that nothing can be compared.
    """
    finite = wanted.isfinite().all(0)
    varies = (wanted.amax(0) - wanted.amin(0))[finite]
    if not bool((varies > 0).any()):
        raise ModelError("the network's outputs do not depend on the picture, so a match cannot be verified")
    same = torch.equal(wanted[:, ~finite], given[:, ~finite])  # classes that are masked by infinity
    off = (wanted - given).abs().amax(0)[finite]
    rounding = _ROUNDING * wanted.abs().amax(0)[finite]
    return same and bool((off <= _TOLERANCE * varies + rounding).all())


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
