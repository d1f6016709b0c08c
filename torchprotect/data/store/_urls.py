"""Recognise, normalise and refuse URLs."""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from torchprotect.errors import StoreError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]+://")
_PATH_OF_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")  # pathlib merges double slashes
_SAME_SCHEMES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "local": "file"}
_ACCOUNT = re.compile(r"[^/:@]*@[^/:@]*(/|$)")  # abfs://container@account.dfs.core.windows.net/path
_WEB = ("http", "https")
_SECRET_PARAMETERS = re.compile(r"sig|token|key|secret|credential|pass|pwd|auth", re.IGNORECASE)


def is_url(location: str | os.PathLike[str]) -> bool:
    """Return whether this is a URL, not a local path.

    Raises:
        StoreError: it is a ``Path`` that was made from a URL, which has lost a slash.
    """
    text = os.fspath(location)
    if not isinstance(location, str) and (made := _PATH_OF_URL.match(text)):
        scheme, rest = made[1], text[made.end() :]
        raise StoreError(f"{scheme}://{rest} is a URL, but was given as a path; give it as a str")
    return _URL.match(text) is not None


def normalise_url(url: str) -> str:
    """Return a URL in its one spelling, without a slash at the end.

    Raises:
        StoreError: it has credentials in it, and URLs are printed and recorded; or it chains several file systems.
    """
    if "::" in url:
        raise StoreError(f"the URL {url.partition('::')[0]}::... chains file systems; give the last of them alone")
    scheme, _, rest = url.partition("://")
    scheme = _SAME_SCHEMES.get(scheme.lower(), scheme.lower())
    where = "before the @" if _has_user(scheme, rest) else _secret_parameter(url)
    if where:
        raise StoreError(
            f"a URL of {scheme}:// has credentials {where}. URLs are printed and recorded, so credentials must come "
            "from the environment or from fsspec's configuration files instead"
        )
    if scheme == "file":
        rest = rest.removeprefix("localhost") if rest.startswith("localhost/") else rest
    return f"{scheme}://{rest.rstrip('/')}" if rest.strip("/") else f"{scheme}://{rest[:1]}"


def _has_user(scheme: str, rest: str) -> bool:
    """Return whether there is a user or password. A secret may hold a slash, so the @ is looked for everywhere."""
    if "@" in rest.partition("/")[0]:
        return not (scheme == "az" and _ACCOUNT.match(rest))
    return scheme not in _WEB and ":" in rest.partition("@")[0] and "@" in rest


def _secret_parameter(url: str) -> str | None:
    names = [name for name, _ in parse_qsl(urlsplit(url).query) if _SECRET_PARAMETERS.search(name)]
    return f"in its parameter {names[0]}" if names else None


def lies_in(inner: str | os.PathLike[str], outer: str | os.PathLike[str]) -> bool:
    """Return whether a folder or URL is the same as another or lies below it."""
    if is_url(inner) != is_url(outer):
        return False
    if is_url(inner):
        return f"{normalise_url(os.fspath(inner))}/".startswith(f"{normalise_url(os.fspath(outer))}/")
    return Path(inner).resolve().is_relative_to(Path(outer).resolve())
