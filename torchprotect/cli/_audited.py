"""Load the networks that an audit attacks."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from torchprotect.cli._model import load_model
from torchprotect.cli._say import complain

if TYPE_CHECKING:
    from torch import nn

    from torchprotect.attacks import MatchedNetworks
    from torchprotect.audit import Report
    from torchprotect.envelope import Identity
    from torchprotect.predict import ModelHeader


def load_encoder(model: str | None, weights: Path | None, device: str) -> "nn.Module | None":
    """Load the encoder of scrambled images, if one is named."""
    from torchprotect.errors import InputTypeError

    if model is None:
        if weights is not None:
            raise InputTypeError("--weights belong to a network: name it with --model package.module:factory")
        return None
    return load_model(model, weights, device).eval()


def load_matched(
    path: Path | None, original: str | None, std: str | None, export: str, identity: "list[Identity]"
) -> "MatchedNetworks | None":
    """Load a network that was matched to the key of an export, and its public original, if they are named."""
    from torchprotect import attacks, data, predict
    from torchprotect.errors import InputTypeError, KeyKindError

    if path is None and original is None:
        return None
    if path is None or original is None:
        raise InputTypeError("--matched and --original go together: give the matched network and its public original")
    header = predict.read_header(path)
    if header.matched is None:
        raise InputTypeError(
            f"{path} holds a network that was not matched to a key, so its weights contain no key to read"
        )
    if header.matched.disguise not in data.Recipe.of_export(export, identity=identity).transform:
        raise KeyKindError(f"{path} was matched to a key or settings other than those of {export}")
    made = load_model(original, None, "cpu").eval()
    matched = predict.load_network(path, made).eval()
    return attacks.MatchedNetworks(matched, made, _std_of(std, header), header.matched.scale)


def _std_of(text: str | None, header: "ModelHeader") -> tuple[float, ...]:
    from torchprotect.errors import InputTypeError

    matched = header.matched
    if text is None and matched is not None and matched.disguise.get("matrix", "orthogonal") != "orthogonal":
        raise InputTypeError(
            "--original-std is required for matrices that are not orthogonal: give it as 0.229,0.224,0.225, for example"
        )
    try:
        numbers = tuple(float(each) for each in (text or "1").split(","))
    except ValueError:
        raise InputTypeError(
            f"--original-std takes numbers separated by commas, such as 0.229,0.224,0.225, got {text!r}"
        ) from None
    if len(numbers) not in (1, header.shape.channels) or not all(0 < each < 1e9 for each in numbers):
        raise InputTypeError(f"--original-std takes 1 or {header.shape.channels} positive numbers, got {text}")
    return numbers


def require_attacked(report: "Report") -> None:
    """If the matched network was not attacked, print the reason and exit with code 1."""
    name = "read_key_from_weights"
    if any(found.attack == name for found in report.findings):
        return
    reason = next((each.reason for each in report.not_run if each.attack == name), "--attack did not ask for it")
    complain(f"error: {name} was not run on the matched network: {reason}")
    raise typer.Exit(1)
