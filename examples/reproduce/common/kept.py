"""Tensors that measurements share, kept on disk, so that a second process or run starts where the first ended."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import safetensors.torch
from torch import Tensor


class Kept:
    """Files in a folder, each named after what decides its content, and each either whole or absent.

    Args:
        folder: made if it does not exist.
        common: what decides the content of every file; as JSON.
    """

    def __init__(self, folder: Path, *common: object) -> None:
        self.folder, self._common = folder, common
        folder.mkdir(parents=True, exist_ok=True)

    # A name is a kind, then details; all of them are JSON values.

    def path(self, kind: str, *details: object) -> Path:
        """Name a file."""
        digest = hashlib.sha256(json.dumps([kind, *details, *self._common], sort_keys=True).encode()).hexdigest()
        return self.folder / f"{kind.replace(' ', '-')}-{digest[:12]}.safetensors"

    def tensors(self, name: tuple[Any, ...], make: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Read tensors, or make and write them; while one process makes them, others that need them wait."""
        path = self.path(*name)
        with filelock.FileLock(path.with_suffix(".lock")):
            if not path.exists():
                contents = {key: tensor.cpu().contiguous() for key, tensor in make().items()}
                temporary = path.with_suffix(".part")
                safetensors.torch.save_file(contents, temporary)
                temporary.replace(path)
        return safetensors.torch.load_file(path)

    def tensor(self, name: tuple[Any, ...], make: Callable[[], Tensor]) -> Tensor:
        """Read one tensor, or make and write it."""
        return self.tensors(name, lambda: {"tensor": make()})["tensor"]
