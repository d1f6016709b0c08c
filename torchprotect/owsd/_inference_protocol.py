"""A cloud that speaks the Open Inference Protocol over HTTP."""

import os
import re
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args
from urllib.parse import quote

import torch
from torch import Tensor

from torchprotect._inputs import require_int, require_number
from torchprotect.errors import CloudError, InputRangeError
from torchprotect.owsd._http import Endpoint
from torchprotect.owsd._messages import Datatype, Layout, read_answer, request_body
from torchprotect.owsd._prepare import Preparation, require_images

_NOTHING: Mapping[str, str] = MappingProxyType({})


class InferenceProtocolCloud:
    """A classifier behind the Open Inference Protocol, version 2, over REST: KServe, MLServer, Triton and others.

    It sends ``POST {url}/v2/models/{model}/infer`` with the images as JSON numbers, and the headers that the library
    ``requests`` adds. Certificates are always verified; redirects are never followed; cookies and ``~/.netrc`` are not
    used. Proxies, and the CA bundle if none is given, come from the environment, as in ``requests``, except for
    loopback addresses, which are contacted directly. It sends each request once; :func:`ask` retries. Needs the extra
    ``cloud``.

    Over http, everybody on the network path can read the images. Credentials are sent over https or to loopback
    addresses only.

    Args:
        url: URL of the server, ``https://host:port``, with any path that precedes ``/v2``.
        model: name of the model.
        input_name: name of its input.
        version: version of the model; the server's choice when ``None``.
        output: name of the output with the vectors ``[N, V]``; needed if there are several.
        datatype: ``"UINT8"``: grey levels 0..255. ``"FP32"``: the same divided by 255, then normalised with ``mean``
            and ``std`` if given; five times as many bytes.
        layout: ``"NCHW"``, or ``"NHWC"`` for models with channels last.
        size: ``(height, width)`` to resize images to, bilinearly with antialiasing; no resizing when ``None``.
        mean: subtracted per channel, on the 0..1 scale; ``"FP32"`` only.
        std: divided by per channel, on the 0..1 scale; ``"FP32"`` only.
        batch_size: images per request.
        timeout: seconds to connect, and seconds until an answer begins; once begun, it must end within the latter time
            again.
        token: a function that returns a bearer token, called before each request.
        headers: extra headers, such as an API key; like the token, they appear in no ``repr`` and no error.
        ca_bundle: file or folder of CA certificates to trust instead of the default ones.

    Raises:
        InputRangeError: an argument is invalid.
        ImportError: ``requests`` is not installed.

    References:
        Open Inference Protocol, REST, https://github.com/kserve/open-inference-protocol.
    """

    def __init__(
        self,
        url: str,
        model: str,
        *,
        input_name: str,
        version: str | None = None,
        output: str | None = None,
        datatype: Datatype = "UINT8",
        layout: Layout = "NCHW",
        size: tuple[int, int] | None = None,
        mean: tuple[float, float, float] | None = None,
        std: tuple[float, float, float] | None = None,
        batch_size: int = 16,
        timeout: tuple[float, float] = (5.0, 60.0),
        token: Callable[[], str] | None = None,
        headers: Mapping[str, str] = _NOTHING,
        ca_bundle: str | os.PathLike[str] | None = None,
    ) -> None:
        if find_spec("requests") is None:
            raise ImportError(
                "this cloud needs the package requests: run pip install requests, or, in a checkout of torchprotect, "
                'pip install ".[cloud]"'
            )
        for name, value in (("model", model), ("version", version), ("input_name", input_name), ("output", output)):
            _require_name(name, value, optional=name in ("version", "output"))
        if datatype not in get_args(Datatype) or layout not in get_args(Layout):
            raise InputRangeError(
                f"datatype must be UINT8 or FP32 and layout NCHW or NHWC, got {datatype!r} and {layout!r}"
            )
        if datatype == "UINT8" and (mean is not None or std is not None):
            raise InputRangeError("UINT8 numbers are grey levels; normalising by mean and std needs datatype='FP32'")
        require_int("batch_size", batch_size, at_least=1)
        self.model, self.version, self.batch_size = model, version, batch_size
        self._prepare = Preparation(size, mean, std)
        self._form: dict[str, Any] = {
            "input_name": input_name,
            "datatype": datatype,
            "layout": layout,
            "output": output,
        }
        address = f"{url.rstrip('/') if isinstance(url, str) else url}/v2/models/{quote(model, safe='')}"
        address += "/infer" if version is None else f"/versions/{quote(version, safe='')}/infer"
        self._endpoint = Endpoint(address, _timeout(timeout), _headers(headers), token, _bundle(ca_bundle))
        self._length: int | None = None

    def __repr__(self) -> str:
        return f"InferenceProtocolCloud({self._endpoint.url!r}, {self._form}, {self._prepare})"

    def __call__(self, images: Tensor, /) -> Tensor:
        """Return the server's vectors, float32 ``[N, V]`` on the CPU.

        Raises:
            InputTypeError, InputShapeError: images are not uint8 ``[N, 3, H, W]``.
            CloudError: the server does not answer, refuses, or does not answer with finite vectors of the same length
                as before. ``again`` is set for time-outs, cut connections and HTTP 429, 500, 502, 503 and 504.
        """
        require_images(images)
        with self._endpoint.session() as session:
            return torch.cat([self._ask(session, part) for part in images.split(self.batch_size)])

    def _ask(self, session: Any, images: Tensor) -> Tensor:
        as_floats = self._form["datatype"] == "FP32"
        sent = (self._prepare.floats if as_floats else self._prepare.levels)(images.cpu())
        answer = self._endpoint.post(session, request_body(sent, **self._form))
        vectors = read_answer(answer, len(images), self._form["output"])
        if self._length is None:
            self._length = vectors.shape[1]
        if vectors.shape[1] != self._length:
            raise CloudError(f"the cloud's vectors had {self._length} numbers before, and now have {vectors.shape[1]}")
        return vectors


def _require_name(name: str, value: Any, *, optional: bool) -> None:
    if optional and value is None:
        return
    if not isinstance(value, str) or not value.strip() or value in (".", ".."):
        raise InputRangeError(f"{name} must be a name, got {value!r}")


def _timeout(timeout: Any) -> tuple[float, float]:
    if not isinstance(timeout, tuple) or len(timeout) != 2:
        raise InputRangeError(f"timeout must be a pair (seconds to connect, seconds until an answer), got {timeout!r}")
    for seconds in timeout:
        require_number("each number of timeout, in seconds,", seconds, above=0)
    return timeout


def _headers(headers: Mapping[str, str]) -> dict[str, str]:
    names = all(isinstance(name, str) and re.fullmatch(r"[\w-]+", name, re.ASCII) for name in headers)
    values = all(isinstance(value, str) and re.fullmatch(r"[!-~]([ -~]*[!-~])?", value) for value in headers.values())
    if not names or not values:
        raise InputRangeError("headers must be names and values in printable ASCII, without surrounding spaces")
    return dict(headers)


def _bundle(ca_bundle: Any) -> str | None:
    if ca_bundle is None:
        return None
    if not isinstance(ca_bundle, str | os.PathLike) or not Path(ca_bundle).exists():
        raise InputRangeError(
            f"ca_bundle must be an existing file or folder, got {ca_bundle!r}; verification cannot be turned off"
        )
    return str(ca_bundle)
