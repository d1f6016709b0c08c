"""Errors for clouds that refuse or cannot be reached. Messages hold no pixels and no credentials."""

import email.utils
import json
import re
import ssl
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import Any

from torchprotect.errors import CloudError

_MOST_SHOWN = 100
_TRY_AGAIN = (429, 500, 502, 503, 504)
_NUMBERS = re.compile(r"-?\d[\d.eE+-]*(?:[\s,;:()\[\]]+-?\d[\d.eE+-]*){2,}")
_WORDS = re.compile(r"[\w.~+/-]{4,}")


class CloudBusyError(CloudError):
    """The cloud asks to wait before the next request.

    Attributes:
        wait: seconds, as the cloud says.
    """

    def __init__(self, message: str, *, wait: float) -> None:
        super().__init__(message, again=True)
        self.wait = wait


def excerpt(text: Any) -> str:
    """Return at most 100 printable ASCII characters of a cloud's message."""
    shown = "".join(char if " " <= char <= "~" else "?" for char in str(text)[: _MOST_SHOWN + 1])
    return shown if len(shown) <= _MOST_SHOWN else shown[: _MOST_SHOWN - 3] + "..."


def refusal(host: str, status: int, retry_after: str | None, body: bytes, secrets: Iterable[str]) -> CloudError:
    """Return the error for an answer whose status is not 200.

    Args:
        host: the one that answered.
        status: status of the answer.
        retry_after: the header of that name.
        body: body of the answer.
        secrets: texts to hide even if the cloud echoes them.
    """
    if 300 <= status < 400:
        return CloudError(
            f"{host} answers with a redirect (HTTP {status}), which is not followed: images would go elsewhere; give "
            "the final address yourself"
        )
    message = f"{host} answers with HTTP {status}{_error_text(body, ' '.join(secrets))}"
    wait = _seconds(retry_after)
    if status in _TRY_AGAIN and wait is not None:
        return CloudBusyError(f"{message}, asking to wait {wait:.0f} s", wait=wait)
    return CloudError(message, again=status in _TRY_AGAIN)


def failure(host: str, error: BaseException) -> CloudError:
    """Return the error for a request without an answer; not its cause's text, which may contain the request."""
    import requests
    import urllib3.exceptions

    if _find_cause(error, ssl.SSLCertVerificationError):
        return CloudError(
            f"the certificate of {host} is not trusted; if your own CA signed it, give the CA's certificate as "
            "ca_bundle"
        )
    if isinstance(error, requests.exceptions.SSLError) and not _find_cause(error, ssl.SSLEOFError):
        return CloudError(f"no TLS connection can be made to {host}; check its address and ca_bundle")
    if isinstance(error, requests.Timeout | urllib3.exceptions.TimeoutError):
        return CloudError(f"{host} does not answer in time", again=True)
    cut = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError, urllib3.exceptions.ProtocolError)
    if isinstance(error, cut):
        return CloudError(f"the connection to {host} cannot be made or is cut ({type(error).__name__})", again=True)
    return CloudError(
        f"no request can be made to {host} ({type(error).__name__}); check its address, headers and ca_bundle"
    )


def _find_cause(error: BaseException, kind: type[BaseException]) -> bool:
    """Find an error of a given kind that another error wraps as its reason, its cause or an argument."""
    seen = [error]
    for each in seen:
        if isinstance(each, kind):
            return True
        inside = [*each.args, getattr(each, "reason", None), each.__cause__]
        seen.extend(one for one in inside if isinstance(one, BaseException) and one not in seen)
    return False


def _error_text(body: bytes, secrets: str) -> str:
    """Return the start of the cloud's error message, without lists of numbers and without secrets."""
    try:
        said = json.loads(body)["error"]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return ""
    parts = _WORDS.findall(secrets)

    def shown(word: re.Match[str]) -> str:
        return "(hidden)" if word[0] in secrets or any(part in word[0] for part in parts) else word[0]

    return f": {excerpt(_WORDS.sub(shown, _NUMBERS.sub('(numbers)', said)))}" if isinstance(said, str) else ""


def _seconds(retry_after: str | None) -> float | None:
    """Read a ``Retry-After``: seconds, or a date."""
    if retry_after is None:
        return None
    if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        moment = email.utils.parsedate_to_datetime(retry_after)
    except (ValueError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    return max(0.0, (moment - datetime.now(timezone.utc)).total_seconds())
