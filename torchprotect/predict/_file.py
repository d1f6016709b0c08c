"""Model files, format version 1: a safetensors file with a header, specified in ``docs/reference/model-format.md``."""

import copy
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from torchprotect._files import atomic_file, require_safetensors
from torchprotect._inputs import type_name
from torchprotect._json import canonical, parse
from torchprotect.errors import InputTypeError, ModelError, ModelFileError
from torchprotect.predict._input import check_scores, differs
from torchprotect.predict.header import ModelHeader
from torchprotect.training import eval_mode, load_weights

FORMAT = "torchprotect-model"
VERSION = 1


def write_model(network: nn.Module, header: ModelHeader, path: Path) -> None:
    """Write weights and header atomically.

    Raises:
        FileExistsError: ``path`` exists.
        ModelError: the network has state that is not a tensor.
    """
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "security_claim": header.security_claim,
        "model": canonical(header.describe()).decode(),
    }
    content = safetensors.torch.save(_weights_of(network), metadata)
    with atomic_file(path, overwrite=False) as file:
        file.write(content)


def read_header(path: str | os.PathLike[str]) -> ModelHeader:
    """Read the description of the network from a model file, without its weights.

    Raises:
        ModelFileError: it is not a model file, has a newer version, or is truncated or damaged.
    """
    name = os.fspath(path)
    require_safetensors(Path(path), "a torchprotect model file", ModelFileError)
    metadata = _metadata(name)
    if metadata.get("format") != FORMAT:
        raise ModelFileError(f"{name} is not a torchprotect model file; predict.save writes one")
    if metadata.get("version") != str(VERSION):
        version = str(metadata.get("version"))[:8]
        raise ModelFileError(f"{name} has model format version {version}, this package reads {VERSION}; update it")
    try:
        described = parse(metadata["model"])
    except (KeyError, ValueError):
        described = None
    if not isinstance(described, dict):
        raise ModelFileError(f"{name} is damaged: its header is not JSON")
    return ModelHeader.from_description(described, name)


def is_model_file(path: str | os.PathLike[str]) -> bool:
    """Return whether a file declares itself a model file of this package."""
    try:
        require_safetensors(Path(path), "a safetensors file", ModelFileError)
        return _metadata(os.fspath(path)).get("format") == FORMAT
    except ModelFileError:
        return False


def load_network(path: str | os.PathLike[str], network: nn.Module | Callable[[], nn.Module]) -> nn.Module:
    """Load the weights of a model file into a network, for example to continue training. No key is needed.

    Args:
        path: path of the model file.
        network: a network of the architecture that was saved, or a function that returns one; for a matched network,
            the architecture that was matched. It is not changed.

    Returns:
        A network with the weights of the file, in the train/eval mode of the given one.

    Raises:
        ModelFileError: it is not a model file, has a newer version, or is truncated or damaged.
        ModelError: the weights do not fit the network.
    """
    header, name = read_header(path), os.fspath(path)
    if not isinstance(network, nn.Module) and not callable(network):
        raise InputTypeError(f"network must be a torch.nn.Module or a function that returns one, got {network!r}")
    made = copy.deepcopy(network) if isinstance(network, nn.Module) else network()
    if not isinstance(made, nn.Module):
        raise InputTypeError(f"network must be a torch.nn.Module or return one, got {type_name(made)}")
    try:
        if header.matched is not None:
            header.matched.require_weights(made, _shapes_in(name))
            header.matched.build(made)
        weights = safetensors.torch.load_file(path)
    except SafetensorError as error:
        raise ModelFileError(f"{name} is truncated or damaged: {error}") from None
    load_weights(made, weights, name)
    with eval_mode(made):
        if differs(header.check, check_scores(made, header.shape, header.classes)):
            raise ModelError(
                f"the network has the weights of {name}, but answers otherwise than the one that was saved: its "
                "architecture, or a buffer that is not among the weights, is another"
            )
    return made


def _shapes_in(name: str) -> dict[str, list[int]]:
    with safe_open(name, framework="pt") as file:
        return {each: file.get_slice(each).get_shape() for each in file.keys()}  # noqa: SIM118 - no mapping


def _metadata(name: str) -> dict[str, Any]:
    try:
        with safe_open(name, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, json.JSONDecodeError) as error:
        raise ModelFileError(f"{name} is not a torchprotect model file, or it is damaged: {error}") from None


def _weights_of(network: nn.Module) -> dict[str, Tensor]:
    """Return the state of a network; tensors that share memory, such as tied weights, become copies."""
    weights, seen = dict[str, Tensor](), set[int]()
    for name, tensor in network.state_dict().items():
        if not isinstance(tensor, Tensor):
            raise ModelError(f"{name} in the state of the network is not a tensor, got {type_name(tensor)}")
        memory, own = tensor.untyped_storage().data_ptr(), tensor.detach().cpu().contiguous()
        weights[name] = own.clone() if memory in seen else own
        seen.add(memory)
    return weights
