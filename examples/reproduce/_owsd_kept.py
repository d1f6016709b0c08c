"""What the reproductions of "One Way Scrambling by Deconvolution" keep on disk."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import safetensors.torch
from torch import Tensor


class Kept:
    """Files in a folder, each named after what decides its content, whole or not there.

    Args:
        folder: made if it does not exist.
        common: what decides the content of every file.
    """

    def __init__(self, folder: Path, *common: object) -> None:
        self.folder, self._common = folder, common
        folder.mkdir(parents=True, exist_ok=True)

    def path(self, kind: str, *told: object) -> Path:
        """Name a file."""
        digest = hashlib.sha256(json.dumps([kind, *told, *self._common]).encode()).hexdigest()
        return self.folder / f"owsd-{kind}-{digest[:12]}.safetensors"

    def tensors(self, name: tuple[object, ...], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Read tensors, or make and write them."""
        path = self.path(*name)
        if not path.exists():
            temporary = path.with_suffix(".part")
            safetensors.torch.save_file(make(), temporary)
            temporary.replace(path)
        return safetensors.torch.load_file(path)

    def tensor(self, name: tuple[object, ...], make: Callable[[], Tensor]) -> Tensor:
        """Read one tensor, or make and write it."""
        return self.tensors(name, lambda: {"tensor": make().contiguous()})["tensor"]

    def numbers(self, name: tuple[object, ...], make: Callable[[], dict[str, float]]) -> dict[str, float]:
        """Read numbers, or make and write them."""
        path = self.path(*name).with_suffix(".json")
        if not path.exists():
            temporary = path.with_suffix(".part")
            temporary.write_text(json.dumps(make()))
            temporary.replace(path)
        return json.loads(path.read_text())
