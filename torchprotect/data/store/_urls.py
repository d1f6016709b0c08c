"""URLs: which names are URLs, and which of those are refused."""

import os
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from torchprotect.errors import StoreError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]+://")
_PATH_OF_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/(?!/)")  # pathlib merges double slashes
_ACCOUNT_SCHEMES = ("az", "abfs", "abfss")  # abfs://container@account.dfs.core.windows.net/path
_SECRET_PARAMETERS = re.compile(r"sig|token|key|secret|credential|passw|auth", re.IGNORECASE)


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


def require_usable_url(url: str) -> None:
    """Check that a URL has no credentials in it, since URLs are printed and recorded, and names one file system.

    Raises:
        StoreError: it has, or it chains several file systems.
    """
    if "::" in url:
        raise StoreError(f"the URL {url.partition('::')[0]}::... chains file systems; give the last of them alone")
    scheme, _, rest = url.partition("://")
    user, at, _ = rest.partition("/")[0].rpartition("@")
    if at and (":" in user or scheme.lower() not in _ACCOUNT_SCHEMES):
        raise StoreError(_refusal(scheme, "before the @"))
    secrets = [name for name, _ in parse_qsl(urlsplit(url).query) if _SECRET_PARAMETERS.search(name)]
    if secrets:
        raise StoreError(_refusal(scheme, f"in its parameter {secrets[0]}"))


def lies_in(inner: str | os.PathLike[str], outer: str | os.PathLike[str]) -> bool:
    """Return whether a folder or URL is the same as another or lies below it."""
    if is_url(inner) != is_url(outer):
        return False
    if is_url(inner):
        return f"{os.fspath(inner).rstrip('/')}/".startswith(f"{os.fspath(outer).rstrip('/')}/")
    return Path(inner).resolve().is_relative_to(Path(outer).resolve())


def _refusal(scheme: str, where: str) -> str:
    return (
        f"a {scheme}:// URL has credentials {where}. URLs are printed and recorded, so credentials must come from the "
        "environment or from fsspec's configuration files instead"
    )
