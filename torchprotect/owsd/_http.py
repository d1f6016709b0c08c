"""One POST of JSON, with verified certificates, no redirects, no retries and a size limit on the answer."""

import ipaddress
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

from torchprotect.errors import CloudError, InputRangeError
from torchprotect.owsd._failures import failure, refusal

MOST_BYTES = 1 << 26
"""Largest number of bytes read from an answer: a thousand vectors of several thousand numbers."""

_MOST_BYTES_OF_ERROR = 1 << 13
_OURS = ("content-type", "content-length", "transfer-encoding", "accept-encoding")


@dataclass(frozen=True)
class Endpoint:
    """An address to post to, with its connection settings. ``repr`` hides everything that may be a credential.

    Attributes:
        url: http or https, without user, query and fragment.
        timeout: seconds to connect, and seconds without an answer.
        headers: additional headers to send.
        token: returns a bearer token; called for each request.
        ca_bundle: file or folder of certificates to trust instead of the default ones.
    """

    url: str
    timeout: tuple[float, float]
    headers: Mapping[str, str] = field(repr=False)
    token: Callable[[], str] | None = field(repr=False)
    ca_bundle: str | None

    def __post_init__(self) -> None:
        _require_url(self.url)
        names = {name.lower() for name in self.headers}
        if names & set(_OURS):
            raise InputRangeError(
                f"the headers {', '.join(sorted(names & set(_OURS)))} are set by the client itself; leave them out"
            )
        if self.token is not None and "authorization" in names:
            raise InputRangeError("give either a token or a header 'Authorization', not both")
        known = self.token is not None or "authorization" in names
        if known and urlsplit(self.url).scheme == "http" and not self.local:
            raise InputRangeError("credentials go over https only, or to this machine itself: use an https address")

    @property
    def host(self) -> str:
        """Host and port, for messages."""
        return urlsplit(self.url).netloc

    @property
    def local(self) -> bool:
        """Whether the address is a loopback address, for which no proxy is used."""
        name = urlsplit(self.url).hostname or ""
        try:
            return ipaddress.ip_address(name).is_loopback
        except ValueError:
            return name == "localhost"

    def session(self) -> Any:
        """Return a ``requests`` session, to be closed; a few posts can share its connection."""
        import requests

        session = requests.Session()
        session.trust_env = not self.local
        session.headers["Accept-Encoding"] = "identity"  # no compression, so that the limit on bytes holds
        session.headers.update(self.headers)
        return session

    def post(self, session: Any, body: bytes) -> bytes:
        """Post JSON and return the body of the answer.

        Raises:
            CloudError: there is no answer with status 200, see its ``again``.
        """
        import urllib3.exceptions

        token = self._token()
        try:
            return self._exchange(session, body, token)
        except (OSError, urllib3.exceptions.HTTPError) as error:  # the errors of requests are OSErrors
            reason = failure(self.host, error)
        raise reason  # outside of the handler, because the library's error holds the request and its headers

    def _token(self) -> str | None:
        if self.token is None:
            return None
        token = self.token()
        if not isinstance(token, str) or not re.fullmatch(r"[!-~]+", token):
            raise InputRangeError("token() must return a string of printable ASCII characters without spaces")
        return token

    def _exchange(self, session: Any, body: bytes, token: str | None) -> bytes:
        """Send through the adapter itself, which follows no redirect and keeps no cookie."""
        import requests

        def authorise(request: Any) -> Any:  # with it, requests looks for no password in ~/.netrc
            if token is not None:
                request.headers["Authorization"] = f"Bearer {token}"
            return request

        # a stream, so that the time to connect does not limit the time to send it all
        request = requests.Request(
            "POST", self.url, data=BytesIO(body), headers={"Content-Type": "application/json"}, auth=authorise
        )
        prepared = session.prepare_request(request)
        options = session.merge_environment_settings(self.url, {}, True, self.ca_bundle or True, None)
        response = session.get_adapter(self.url).send(prepared, timeout=self.timeout, **options)
        try:
            if response.status_code != 200:
                raise self._refusal(response, token)
            return self._read(response, MOST_BYTES)
        finally:
            response.close()

    def _read(self, response: Any, most: int) -> bytes:
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise CloudError(f"{self.host} compresses its answer though it was asked not to")
        parts, size, end = [], 0, time.monotonic() + self.timeout[1]
        while part := response.raw.read1(1 << 16):
            size += len(part)
            if size > most:
                raise CloudError(f"the answer of {self.host} is longer than {most:,} bytes")
            if time.monotonic() > end:
                raise CloudError(f"{self.host} takes longer than {self.timeout[1]:g} s to answer", again=True)
            parts.append(part)
        return b"".join(parts)

    def _refusal(self, response: Any, token: str | None) -> CloudError:
        try:
            said = self._read(response, _MOST_BYTES_OF_ERROR)
        except Exception:  # the error text is optional
            said = b""
        secrets = [*self.headers.values(), token or ""]
        return refusal(self.host, response.status_code, response.headers.get("Retry-After"), said, secrets)


def _require_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        usable = usable and re.fullmatch(r"[!-~]+", url) is not None
    except (ValueError, TypeError, AttributeError):
        raise InputRangeError("the url of a cloud is a string like https://host:port") from None
    if not usable or parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise InputRangeError(
            "the url of a cloud is like https://host:port/path, in ASCII, without user, password, query and fragment; "
            "give credentials as token or headers"
        )
