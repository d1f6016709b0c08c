"""What an attacker is taken to know of a disguise: its public parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torchprotect.errors import BlockSizeError, ExportError

Preserved = Literal["values", "energies", "equality"]

_PRESERVED: dict[str, Preserved] = {"BlockPermute": "values", "RMTDisguise": "energies", "AESECBDisguise": "equality"}
_PERTURBATION = "AdversarialEncrypt"


@dataclass(frozen=True)
class Scheme:
    """Public parameters of a disguise, as an export's manifest has them.

    Attributes:
        name: class of the transform.
        block_size: ``(h, w)`` in pixels; ``None`` where it has no blocks.
        permuted: whether the blocks are laid out in a secret order.
        unit_pixels: pixels of a cipher unit.
        noise: grey levels.
        side: from which a matrix multiplies.
        matrix: kind of the matrices.
        channels: channels with a secret of their own; ``None`` shares one.
        other: further keyed transforms of the same export; attacks that know one disguise do not fit them.
        described: the manifest's entries, without ``key`` and ``permutation``.
    """

    name: str
    block_size: tuple[int, int] | None = None
    permuted: bool = False
    unit_pixels: int = 16
    noise: float = 0.0
    side: Literal["right", "left"] = "right"
    matrix: str = "orthogonal"
    channels: int | None = None
    other: tuple[str, ...] = ()
    described: tuple[dict[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if self.name in _PRESERVED and self.block_size is None:
            raise BlockSizeError(f"{self.name} works on blocks: give its block_size, (h, w) in pixels")

    @property
    def blocks(self) -> tuple[int, int]:
        """Size of the blocks, for attacks on blocks."""
        if self.block_size is None:
            raise BlockSizeError(f"{self.name} has no blocks")
        return self.block_size

    @property
    def learned_scale(self) -> bool:
        """Whether matrices keep no lengths, so that attacks have to learn a scale."""
        return self.name == "RMTDisguise" and self.matrix != "orthogonal"

    @property
    def matching(self) -> dict[str, Any]:
        """What attacks that compare blocks are told: size, what is preserved, side, unit, noise."""
        told = {"block_size": self.blocks, "preserved": self.preserved, "side": self.side, "noise": self.noise}
        return {**told, "unit_pixels": self.unit_pixels}

    @property
    def preserved(self) -> Preserved | None:
        """What it keeps of a block, as the attacks call it; ``None`` where no attack on blocks fits."""
        return None if self.other or self.block_size is None else _PRESERVED.get(self.name)

    @property
    def readable(self) -> bool:
        """Whether people can read the images as they are."""
        return self.name == _PERTURBATION and not self.other


def read_scheme(steps: Any) -> Scheme:
    """Read the transform of a manifest; the last disguise in it is what the attacks are about.

    Raises:
        ExportError: it names no disguise, or is malformed.
    """
    if not isinstance(steps, list) or not all(isinstance(step, dict) and "name" in step for step in steps):
        raise ExportError("the manifest is malformed: its transform is no list of named steps")
    keyed = [step for step in steps if "key" in step]
    if not keyed:
        raise ExportError("the manifest names no keyed disguise; export again with this version of torchprotect")
    last = keyed[-1]
    if "image_size" not in last and last["name"] != _PERTURBATION:
        raise ExportError(
            f"the manifest does not tell the block size of {last['name']}; export again with this torchprotect"
        )
    given = {name: last[name] for name in _FITS if name in last}
    block_size = last.get("block_size")
    wrong = [name for name, value in given.items() if not _FITS[name](value)]
    if block_size is not None and not (
        isinstance(block_size, list) and len(block_size) == 2 and _are_sides(block_size)
    ):
        wrong.append("block_size")
    if wrong:
        raise ExportError(f"the manifest is malformed: {', '.join(wrong)} of {last['name']} has no possible value")
    return Scheme(
        name=last["name"],
        block_size=None if block_size is None else (block_size[0], block_size[1]),
        permuted=last["name"] == "BlockPermute" or last.get("permutation") is not None,
        **given,
        other=tuple(step["name"] for step in keyed[:-1]),
        described=tuple(_public(step) for step in steps),
    )


def _are_sides(sides: list[Any]) -> bool:
    return all(type(side) is int and 0 < side <= _LONGEST_SIDE for side in sides)


_LONGEST_SIDE = 1 << 20
_FITS: dict[str, Callable[[Any], bool]] = {
    "unit_pixels": lambda value: type(value) is int and value in (16, 8, 4, 2),
    "noise": lambda value: type(value) in (int, float) and value >= 0,
    "side": lambda value: value in ("right", "left"),
    "matrix": lambda value: value in ("orthogonal", "uniform", "gaussian"),
    "channels": lambda value: value is None or _are_sides([value]),
}


def _public(step: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in step.items() if name not in ("key", "permutation", "model", "inverse")} | (
        {"permuted": step["permutation"] is not None} if "permutation" in step else {}
    )
