"""Networks that an audit is given."""

from pathlib import Path
from typing import TYPE_CHECKING

from torchprotect.cli._model import load_model

if TYPE_CHECKING:
    from torch import nn

    from torchprotect.attacks import MatchedNetworks


def load_encoder(model: str | None, weights: Path | None, device: str) -> "nn.Module | None":
    """Load the encoder of scrambled images, if one is named."""
    from torchprotect.errors import InputTypeError

    if model is None:
        if weights is not None:
            raise InputTypeError("--weights belong to a network: name it with --model package.module:factory")
        return None
    return load_model(model, weights, device).eval()


def load_matched(path: Path | None, original: str | None, std: str) -> "MatchedNetworks | None":
    """Load a matched network and its original, if they are named."""
    from copy import deepcopy

    from torchprotect import attacks, predict
    from torchprotect.errors import InputTypeError

    if path is None and original is None:
        return None
    if path is None or original is None:
        raise InputTypeError("--matched and --original go together: a matched network and what it was made from")
    made, header = load_model(original, None, "cpu").eval(), predict.read_header(path)
    if header.matched is None:
        raise InputTypeError(f"{path} holds a network that was not matched to a key: there is no key in it")
    try:
        numbers = tuple(float(each) for each in std.split(","))
    except ValueError:
        raise InputTypeError(f"--original-std takes numbers such as 0.229,0.224,0.225, not {std!r}") from None
    matched = predict.load_network(path, deepcopy(made)).eval()
    return attacks.MatchedNetworks(matched, made, numbers, round(1 / header.std[0]))
