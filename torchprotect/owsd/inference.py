"""The local inference network, which predicts labels from embeddings and the cloud's answers."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_int, require_tensor
from torchprotect.errors import InputShapeError, LabelError, ModelError
from torchprotect.models import InferenceNetwork
from torchprotect.owsd import _inference_file
from torchprotect.owsd._fit import InferenceSettings, fit_network
from torchprotect.owsd.observations import INPUTS, Evaluation, Observations

_FINGERPRINT = re.compile("[0-9a-f]{64}")


@dataclass(frozen=True, eq=False)
class Inference:
    """Trained inference networks, one for each of :data:`INPUTS`, and the keys whose answers they were trained on.

    Attributes:
        networks: the networks by input, in eval mode, on the CPU.
        classes: number of classes.
        keys: fingerprints of the keys, in order.
        settings: training settings.
    """

    networks: Mapping[str, nn.Module]
    classes: int
    keys: tuple[str, ...]
    settings: InferenceSettings

    @classmethod
    def fit(
        cls,
        observations: Observations,
        labels: Tensor,
        *,
        classes: int,
        settings: InferenceSettings = InferenceSettings(),  # noqa: B008 - frozen
        generator: torch.Generator | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> "Inference":
        """Train the network and its two ablations.

        Args:
            observations: observations of the training images.
            labels: int64 ``[N]``: true labels, or the cloud's answers for the plain images.
            classes: number of classes.
            settings: training settings.
            generator: draws validation images, batches, initial weights and dropout.
            progress: called with epochs done and the largest possible number.

        Raises:
            InputShapeError, LabelError: observations and labels do not match.
            InputRangeError: there are too few images to hold some out for early stopping.
        """
        _require_labels(observations, labels, classes)
        networks = {}
        for turn, inputs in enumerate(INPUTS):
            networks[inputs] = fit_network(
                observations.given(inputs), labels, classes, settings, generator, _part(progress, turn, len(INPUTS))
            )
        return cls(networks, classes, observations.keys, settings)

    @torch.no_grad()
    def predict(self, observations: Observations, *, inputs: str = "both") -> Tensor:
        """Return all classes of each image, best first: int64 ``[N, classes]``.

        Raises:
            ModelError: the images were scrambled with keys other than those of the training.
            InputShapeError: embeddings or vectors are of another length than in training.
        """
        if observations.keys != self.keys:
            raise ModelError(f"the network was trained with {_short(self.keys)}, not with {_short(observations.keys)}")
        given, network = observations.given(inputs), self.networks[inputs]
        wanted = _features(network)
        if given.shape[1] != wanted:
            raise InputShapeError(
                f"the network was trained on {wanted} numbers an image, but there are {given.shape[1]}: encoders, keys "
                "or cloud differ from those it was trained with"
            )
        ranked: Tensor = network(given).argsort(dim=1, descending=True, stable=True)
        return ranked

    def evaluate(self, observations: Observations, labels: Tensor) -> Evaluation:
        """Return the accuracy, and those of the networks that see only the embedding or only the cloud's answer."""
        _require_labels(observations, labels, self.classes)
        top1, top5 = {}, {}
        for inputs in INPUTS:
            hits = self.predict(observations, inputs=inputs) == labels[:, None]
            top1[inputs] = float(hits[:, 0].double().mean())
            top5[inputs] = float(hits[:, :5].any(1).double().mean())
        return Evaluation(len(labels), self.classes, top1, top5)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the networks atomically to a safetensors file with mode 0600; keys are written as fingerprints only."""
        tensors = {f"{name}.{k}": t for name, net in self.networks.items() for k, t in net.state_dict().items()}
        params = {"classes": self.classes, "keys": list(self.keys), "settings": vars(self.settings)}
        _inference_file.write(Path(path), params, tensors)

    @classmethod
    def load(cls, path: str | os.PathLike[str], keys: Sequence[str]) -> "Inference":
        """Read networks that were trained on the answers to images scrambled with these keys.

        Args:
            path: path of the file.
            keys: fingerprints of the keys, in order (:attr:`Client.fingerprints`).

        Raises:
            ModelError: the file is of another kind or damaged, or its networks belong to other keys.
            OSError: it cannot be read.
        """
        wanted = (keys,) if isinstance(keys, str) else tuple(keys)
        params, tensors = _inference_file.read(Path(path))
        try:
            settings, classes = InferenceSettings(**params["settings"]), params["classes"]
            made = _checked_params(classes, params["keys"])
            networks = {inputs: _rebuild(tensors, inputs, classes, settings) for inputs in INPUTS}
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError):
            raise ModelError(f"{path} is damaged: its parameters and tensors do not match") from None
        if made != wanted:
            raise ModelError(
                f"{path} was trained with {_short(made)}, not with {_short(wanted)}: train it again with the new key"
            )
        return cls(networks, classes, made, settings)


def _features(network: nn.Module) -> int:
    return int(network.get_parameter("layers.1.weight").shape[1])


def _rebuild(tensors: dict[str, Tensor], inputs: str, classes: int, settings: InferenceSettings) -> nn.Module:
    state = {k.removeprefix(f"{inputs}."): t for k, t in tensors.items() if k.startswith(f"{inputs}.")}
    features = state["layers.1.weight"].shape[1]
    with torch.device("meta"):  # uses no memory, because the file may claim any size
        network = InferenceNetwork(features, classes, hidden=settings.hidden, dropout=settings.dropout)
    _require_fit(state, network.state_dict())
    network.load_state_dict(state, assign=True)
    return network.eval()


def _require_fit(state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Check the tensors of a file against those of the network that its parameters describe."""
    dtype = state["layers.1.weight"].dtype
    if dtype not in (torch.float32, torch.float64) or state.keys() != expected.keys():
        raise ValueError
    for name, tensor in expected.items():
        wanted = dtype if tensor.is_floating_point() else tensor.dtype
        if state[name].shape != tensor.shape or state[name].dtype != wanted:
            raise ValueError


def _checked_params(classes: Any, keys: Any) -> tuple[str, ...]:
    """Check the parameters of a file and return the fingerprints."""
    if type(classes) is not int or classes < 2:
        raise ValueError
    if not isinstance(keys, list) or not all(isinstance(key, str) and _FINGERPRINT.fullmatch(key) for key in keys):
        raise ValueError
    return tuple(keys)


def _short(fingerprints: tuple[str, ...]) -> str:
    return "key " + ", ".join(str(each)[:12] for each in fingerprints) if fingerprints else "no key"


def _require_labels(observations: Observations, labels: Tensor, classes: int) -> None:
    require_int("classes", classes, at_least=2)
    require_tensor("labels", labels)
    if labels.dtype != torch.int64 or labels.shape != (len(observations),) or not len(labels):
        raise InputShapeError(
            f"int64 labels [{len(observations)}], at least one, are needed, not {labels.dtype} {list(labels.shape)}"
        )
    lowest, highest = (int(edge) for edge in labels.aminmax())
    if lowest < 0 or highest >= classes:
        raise LabelError(f"labels must lie in 0..{classes - 1}, but lie in {lowest}..{highest}")


def _part(progress: Callable[[int, int], None] | None, turn: int, turns: int) -> Callable[[int, int], None] | None:
    """Scale the progress of one network to that of all."""
    if progress is None:
        return None
    return lambda done, total: progress(turn * total + done, turns * total)
