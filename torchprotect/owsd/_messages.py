"""Messages of the Open Inference Protocol, version 2, as JSON tensors."""

import json
from typing import Any, Literal

import torch
from torch import Tensor

from torchprotect.errors import CloudError
from torchprotect.owsd._failures import excerpt

Datatype = Literal["UINT8", "FP32"]
Layout = Literal["NCHW", "NHWC"]

_FLOATS = ("FP16", "FP32", "FP64")


def request_body(images: Tensor, *, input_name: str, datatype: Datatype, layout: Layout, output: str | None) -> bytes:
    """Return an inference request: the images and nothing else, not even an id.

    Args:
        images: ``[N, 3, H, W]``.
        input_name: name of the model's input.
        datatype: type of the numbers.
        layout: order of the dimensions sent.
        output: name of the only output wanted; all of them when ``None``.
    """
    sent = images if layout == "NCHW" else images.permute(0, 2, 3, 1)
    tensor = {"name": input_name, "shape": list(sent.shape), "datatype": datatype, "data": sent.flatten().tolist()}
    request: dict[str, Any] = {"inputs": [tensor]}
    if output is not None:
        request["outputs"] = [{"name": output}]
    return json.dumps(request, separators=(",", ":"), allow_nan=False).encode()


def read_answer(body: bytes, count: int, output: str | None) -> Tensor:
    """Return the vectors in an inference response, float32 ``[count, V]``.

    Raises:
        CloudError: it does not contain one finite floating-point vector for each image.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        raise CloudError("the cloud's answer is not JSON") from None
    tensor = _output(answer, output)
    shape, datatype = tensor.get("shape"), tensor.get("datatype")
    if datatype not in _FLOATS:
        raise CloudError(f"the cloud must answer with a tensor of {', '.join(_FLOATS)}, not {excerpt(datatype)}")
    if not isinstance(shape, list) or len(shape) != 2 or not all(type(side) is int and side > 0 for side in shape):
        raise CloudError(f"the cloud must answer with vectors [{count}, V], not of shape {excerpt(shape)}")
    if shape[0] != count:
        raise CloudError(f"the cloud answers with {shape[0]} vectors to {count} images")
    return _numbers(tensor.get("data"), shape[0], shape[1])


def _output(answer: Any, wanted: str | None) -> dict[str, Any]:
    outputs = answer.get("outputs") if isinstance(answer, dict) else None
    if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
        raise CloudError("the cloud's answer has no list of outputs: is this an inference response?")
    found = [each for each in outputs if wanted is None or each.get("name") == wanted]
    if len(found) == 1:
        return found[0]
    names = excerpt(", ".join(str(each.get("name")) for each in outputs))
    if wanted is not None:
        raise CloudError(f"the cloud's answer has {len(found)} outputs named '{wanted}'; its outputs are: {names}")
    raise CloudError(f"the cloud answers with {len(outputs)} outputs: {names}; name the one with the vectors as output")


def _numbers(data: Any, count: int, length: int) -> Tensor:
    """Read a flat list, or a list of lists, of numbers only."""
    if isinstance(data, list) and len(data) == count and all(isinstance(row, list) for row in data):
        if any(len(row) != length for row in data):
            raise CloudError(f"the cloud's vectors do not all have {length} numbers, as their shape says")
        data = [number for row in data for number in row]
    if not isinstance(data, list) or len(data) != count * length:
        received = f"{len(data)} numbers" if isinstance(data, list) else "none in JSON"
        raise CloudError(f"the cloud's answer must hold {count} x {length} numbers, but there are {received}")
    if not all(type(number) in (int, float) for number in data):
        raise CloudError("the cloud's answer holds values that are not numbers, such as null")
    try:
        vectors = torch.tensor(data, dtype=torch.float64).float().reshape(count, length)
    except (OverflowError, RuntimeError):  # a whole number with hundreds of digits
        raise CloudError("some of the cloud's numbers are too large") from None
    if not bool(vectors.isfinite().all()):
        raise CloudError("some of the cloud's vectors are NaN or infinite")
    return vectors
