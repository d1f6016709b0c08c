"""The internal inference network: from an embedding and the cloud's answer to the label. It stays inside."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from torchprotect._files import atomic_file
from torchprotect._json import canonical
from torchprotect.errors import InputRangeError, InputShapeError, LabelError, ModelError
from torchprotect.models import InferenceNetwork
from torchprotect.owsd._fit import InferenceSettings, fit_network

FORMAT, VERSION = "torchprotect-inference", "1"
INPUTS = ("both", "embedding", "cloud")
"""What a network is given: embedding and cloud vector, or one of them alone, which shows what the other adds."""


@dataclass(frozen=True, eq=False)
class Observations:
    """What the organisation has of some images after asking the cloud.

    Attributes:
        embeddings: float32 ``[N, E]``, of all encoders side by side.
        vectors: float32 ``[N, V]``, the cloud's answers for all encoders and keys side by side.
    """

    embeddings: Tensor
    vectors: Tensor

    def __post_init__(self) -> None:
        if self.embeddings.ndim != 2 or self.vectors.ndim != 2 or len(self.embeddings) != len(self.vectors):
            raise InputShapeError(
                "embeddings [N, E] and vectors [N, V] of the same images are needed, not "
                f"{list(self.embeddings.shape)} and {list(self.vectors.shape)}"
            )

    def __len__(self) -> int:
        return len(self.embeddings)

    def __getitem__(self, which: Any) -> "Observations":
        return Observations(self.embeddings[which], self.vectors[which])

    def given(self, inputs: str) -> Tensor:
        """Return what a network of one of :data:`INPUTS` reads."""
        parts = {"both": (self.embeddings, self.vectors), "embedding": (self.embeddings,), "cloud": (self.vectors,)}
        return torch.cat(parts[inputs], 1)


@dataclass(frozen=True)
class Evaluation:
    """Shares of right labels by what the network was given; the two ablations always come along.

    Attributes:
        images: how many were counted.
        top1: share whose label is the first guess, for each of :data:`INPUTS`.
        top5: share whose label is among the first five.
    """

    images: int
    top1: Mapping[str, float]
    top5: Mapping[str, float]

    def __str__(self) -> str:
        shown = {"both": "embedding and cloud", "embedding": "embedding only", "cloud": "cloud only"}
        rows = [f"  {shown[name]:<20}{self.top1[name]:>7.1%}{self.top5[name]:>8.1%}" for name in INPUTS]
        return "\n".join([f"{self.images:,} images{'top-1':>20}{'top-5':>8}", *rows])


@dataclass(frozen=True, eq=False)
class Inference:
    """Trained networks, one for each of :data:`INPUTS`, and the keys whose answers they were trained on.

    Attributes:
        networks: by input, in eval mode, on the CPU.
        classes: number of classes.
        keys: fingerprints, in order.
        settings: how they were trained.
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
        keys: tuple[str, ...],
        settings: InferenceSettings = InferenceSettings(),  # noqa: B008 - frozen
        generator: torch.Generator | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> "Inference":
        """Train the network and its two ablations.

        Args:
            observations: of the training images.
            labels: int64 ``[N]``: true ones, or what the cloud says of the plain images.
            classes: number of classes.
            keys: fingerprints of the keys the images were scrambled with.
            settings: of the training.
            generator: draws validation images, batches, initial weights and dropout.
            progress: called with epochs done and at most in all.

        Raises:
            InputShapeError, LabelError: observations and labels do not fit.
            InputRangeError: there are too few images to hold some back for early stopping.
        """
        _require_labels(observations, labels, classes)
        networks = {}
        for turn, inputs in enumerate(INPUTS):
            networks[inputs] = fit_network(
                observations.given(inputs), labels, classes, settings, generator, _part(progress, turn, len(INPUTS))
            )
        return cls(networks, classes, keys, settings)

    @torch.no_grad()
    def predict(self, observations: Observations, *, inputs: str = "both") -> Tensor:
        """Return all classes of each image, best first: int64 ``[N, classes]``.

        Raises:
            InputShapeError: embeddings or vectors are of another length than in training.
        """
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
        """Count right labels, also of the networks that see only the embedding or only the cloud's answer."""
        _require_labels(observations, labels, self.classes)
        top1, top5 = {}, {}
        for inputs in INPUTS:
            hits = self.predict(observations, inputs=inputs) == labels[:, None]
            top1[inputs] = float(hits[:, 0].double().mean())
            top5[inputs] = float(hits[:, :5].any(1).double().mean())
        return Evaluation(len(labels), top1, top5)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the networks as safetensors, whole or not at all; the keys by fingerprint only."""
        tensors = {f"{name}.{k}": t for name, net in self.networks.items() for k, t in net.state_dict().items()}
        params = {"classes": self.classes, "keys": list(self.keys), "settings": vars(self.settings)}
        header = {"format": FORMAT, "version": VERSION, "params": canonical(params).decode()}
        with atomic_file(Path(path)) as file:
            file.write(safetensors.torch.save({k: t.contiguous() for k, t in tensors.items()}, header))

    @classmethod
    def load(cls, path: str | os.PathLike[str], keys: tuple[str, ...]) -> "Inference":
        """Read networks that were trained on the answers to images scrambled with these keys.

        Raises:
            ModelError: the file is something else or damaged, or its networks belong to other keys.
        """
        tensors, params = _read(Path(path))
        try:
            settings = InferenceSettings(**params["settings"])
            made, classes = tuple(params["keys"]), int(params["classes"])
            networks = {inputs: _rebuild(tensors, inputs, classes, settings) for inputs in INPUTS}
        except (KeyError, TypeError, ValueError, RuntimeError, IndexError):
            raise ModelError(f"{path} is damaged: its parameters and tensors do not fit together") from None
        if made != keys:
            raise ModelError(
                f"{path} was trained with {_short(made)}, not with {_short(keys)}: train it again with the new key"
            )
        return cls(networks, classes, made, settings)


def _features(network: nn.Module) -> int:
    return int(network.get_parameter("layers.1.weight").shape[1])


def _rebuild(tensors: dict[str, Tensor], inputs: str, classes: int, settings: InferenceSettings) -> nn.Module:
    state = {k.removeprefix(f"{inputs}."): t for k, t in tensors.items() if k.startswith(f"{inputs}.")}
    features = state["layers.1.weight"].shape[1]
    network = InferenceNetwork(features, classes, hidden=settings.hidden, dropout=settings.dropout)
    network.load_state_dict(state)
    return network.eval()


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    content = path.read_bytes()
    try:
        tensors = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])["__metadata__"]
        params = json.loads(header["params"])
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError):
        raise ModelError(f"{path} holds no inference network, or it is damaged") from None
    if header.get("format") != FORMAT or header.get("version") != VERSION or not isinstance(params, dict):
        raise ModelError(f"{path} holds no inference network of version {VERSION}")
    return tensors, params


def _short(fingerprints: tuple[str, ...]) -> str:
    return "key " + ", ".join(str(each)[:12] for each in fingerprints) if fingerprints else "no key"


def _require_labels(observations: Observations, labels: Tensor, classes: int) -> None:
    if isinstance(classes, bool) or not isinstance(classes, int) or classes < 2:
        raise InputRangeError(f"classes is a whole number of at least 2, not {classes!r}")
    if labels.dtype != torch.int64 or labels.shape != (len(observations),) or not len(labels):
        raise InputShapeError(
            f"int64 labels [{len(observations)}], at least one, are needed, not {labels.dtype} {list(labels.shape)}"
        )
    lowest, highest = (int(edge) for edge in labels.aminmax())
    if lowest < 0 or highest >= classes:
        raise LabelError(f"labels must lie in 0..{classes - 1}, but lie in {lowest}..{highest}")


def _part(progress: Callable[[int, int], None] | None, turn: int, turns: int) -> Callable[[int, int], None] | None:
    """Turn the progress of one network into that of all."""
    if progress is None:
        return None
    return lambda done, total: progress(turn * total + done, turns * total)
