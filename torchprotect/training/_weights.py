"""Load weights into a network, after checking names and shapes."""

from collections.abc import Mapping

from torch import Tensor, nn

from torchprotect.errors import ModelError

_SHOWN = 3


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], where: str) -> None:
    """Load weights into a network whose weights must have exactly these names and shapes.

    Args:
        network: any network; changed in place.
        weights: weights by their names in its ``state_dict``.
        where: where the weights come from, for the error message.

    Raises:
        ModelError: the names or shapes differ.
    """
    state = network.state_dict()
    for name, tensor in weights.items():
        if name in state and state[name].is_floating_point() != tensor.is_floating_point():
            raise ModelError(f"{name} in {where} is {tensor.dtype}, but {state[name].dtype} in the model")
    try:
        found = network.load_state_dict(dict(weights), strict=False)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"the weights in {where} do not match the model: {reason}") from error
    loaded = {state[name].data_ptr() for name in weights if name in state}
    missing = [
        name for name in found.missing_keys if state[name].data_ptr() not in loaded
    ]  # tied weights are written once
    problems = [
        f"{kind} {', '.join(sorted(names)[:_SHOWN])}"
        + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")
        for kind, names in (("missing", missing), ("unexpected", found.unexpected_keys))
        if names
    ]
    if problems:
        raise ModelError(f"the weights in {where} do not match the model: {'; '.join(problems)}")
