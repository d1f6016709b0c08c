"""Save the state of a training between two epochs to a file."""

import hashlib
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from torchprotect._files import atomic_file, require_safetensors
from torchprotect.errors import ModelError
from torchprotect.training._weights import load_weights

_MODEL, _OPTIMIZER, _RANDOM = "model.", "optimizer.", "random."


class Checkpoint:
    """Everything that a training needs to continue after an epoch: weights, optimizer state and random generators.

    Args:
        path: path of the file, in a folder that exists; ``None`` keeps nothing.
        model: its weights are read and written.
        optimizer: optimizer of the model, without steps so far.
        generator: generator of the training; torch's global ones are always included.
        settings: other settings that determine the training; a checkpoint under other settings is refused.

    Raises:
        FileNotFoundError: the folder does not exist.
    """

    def __init__(
        self,
        path: Path | None,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        generator: torch.Generator | None,
        settings: object,
    ) -> None:
        if path is not None and not path.parent.is_dir():
            raise FileNotFoundError(f"there is no folder {path.parent} for the checkpoint; make it first")
        self._path, self._model, self._optimizer, self._generator = path, model, optimizer, generator
        self._settings = hashlib.sha256(repr((settings, model)).encode()).hexdigest()

    def save(self, epochs: int) -> None:
        """Write the state after some epochs."""
        if self._path is None:
            return
        state = self._optimizer.state_dict()["state"]
        tensors = {_MODEL + name: tensor for name, tensor in self._model.state_dict().items()}
        tensors |= {f"{_OPTIMIZER}{n}.{name}": value for n, each in state.items() for name, value in each.items()}
        tensors |= {_RANDOM + name: each.get_state() for name, each in self._generators().items()}
        copies = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
        about = {"epochs": str(epochs), "settings": self._settings}
        with atomic_file(self._path, mode=0o600) as file:
            file.write(safetensors.torch.save(copies, about))

    def load(self) -> int:
        """Restore the state; return the number of finished epochs, 0 without a file.

        Raises:
            ModelError: the file belongs to another model or another training, or cannot be read.
        """
        if self._path is None or not self._path.exists():
            return 0
        require_safetensors(self._path, "a checkpoint", ModelError)
        with safe_open(self._path, "pt") as file:
            about = file.metadata() or {}
        if about.get("settings") != self._settings:
            raise ModelError(
                f"the checkpoint {self._path} belongs to another network or another training (recipe, epochs, batch "
                "size, precision, memory format); remove it to start anew"
            )
        tensors = safetensors.torch.load_file(self._path)
        load_weights(self._model, _below(_MODEL, tensors), str(self._path))
        self._load_optimizer(_below(_OPTIMIZER, tensors))
        states = _below(_RANDOM, tensors)
        for name, generator in self._generators().items():
            if name not in states:
                raise ModelError(f"the checkpoint {self._path} has no state of the generator {name}")
            generator.set_state(states[name])
        return int(about["epochs"])

    def remove(self) -> None:
        """Remove the file, once the training is complete."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _load_optimizer(self, tensors: dict[str, Tensor]) -> None:
        state: dict[int, dict[str, Any]] = {}
        for name, tensor in tensors.items():
            number, _, entry = name.partition(".")
            state.setdefault(int(number), {})[entry] = tensor
        self._optimizer.load_state_dict({**self._optimizer.state_dict(), "state": state})

    def _generators(self) -> dict[str, torch.Generator]:
        """Return every generator that a training draws from."""
        found = {"cpu": torch.default_generator}
        if self._generator is not None:
            found["given"] = self._generator
        device = next(self._model.parameters()).device
        if device.type == "cuda":
            found["cuda"] = torch.cuda.default_generators[device.index or 0]
        return found


def _below(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
