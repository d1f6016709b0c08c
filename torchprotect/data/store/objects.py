"""Objects below a URL as a store, by fsspec."""

import contextlib
import datetime
import io
import re
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, BinaryIO, cast

from torchprotect._files import HashedFile
from torchprotect._lock import SharedDescriptor
from torchprotect.data.store._base import Entry, Upload
from torchprotect.data.store._many import ask_each, can_list_alike, delete_each, list_alike, list_folders, require_gone
from torchprotect.data.store._spool import IN_MEMORY, spooled_file
from torchprotect.errors import ProtectError, StoreError

_READ_AHEAD = 4 << 20
_TRIES = 3
_READ_ONLY = ("hf", "http", "https")
_TAGS = ("generation", "ETag", "etag", "blob_id", "Content-MD5", "Last-Modified", "created")
_PARAMETERS = re.compile(r"(https?://[^\s'\"?]+)\?[^\s'\"]*")
_TIMES = ("LastModified", "updated", "last_modified", "mtime", "created")


class ObjectStore:
    """Objects below a URL. An object is sent when its content is complete, so that it is whole or absent.

    It holds the URL alone. Each process opens the file system for itself, with the credentials and the endpoint of its
    own environment.
    """

    local = False

    def __init__(self, url: str) -> None:
        self.location = url
        self._scheme = url.partition("://")[0]
        self.shared = self._scheme != "memory"

    def __repr__(self) -> str:
        return f"ObjectStore({self.location!r})"

    @cached_property
    def _root(self) -> str:
        return str(self._file_system._strip_protocol(self.location)).rstrip("/")

    @property
    def _file_system(self) -> Any:
        """Open the file system; fsspec keeps one for each process and thread."""
        import fsspec

        try:
            return fsspec.filesystem(self._scheme, use_listings_cache=False)
        except ImportError as error:
            raise StoreError(f"{self._scheme}:// needs a package that is not installed: {error}") from error
        except Exception as error:  # not known to fsspec, or it cannot be opened without further settings
            raise StoreError(f"{self._scheme}:// cannot be opened by fsspec: {_reason(error)}") from error

    def path_of(self, name: str) -> str:
        """Return the URL of an object."""
        return f"{self.location}/{name}"

    def _full(self, name: str) -> str:
        return f"{self._root}/{name}"

    def entries(self) -> dict[str, Entry]:
        """List all objects below the URL, at any depth."""
        with self._as_store_error("list"):
            system = self._file_system
            system.invalidate_cache()
            found = self._find(system)
        start = self._root + "/"
        below = {name.removeprefix(start): info for name, info in found.items() if _is_object(name, info, start)}
        unsized = [name for name, info in below.items() if info["size"] is None]  # as a web server lists its files
        return {name: _entry(info) for name, info in below.items()} | (self.stat_all(unsized) if unsized else {})

    def _find(self, system: Any) -> dict[str, Any]:
        try:
            return dict(system.find(self._root, detail=True))
        except FileNotFoundError as error:
            bucket = self._root.strip("/").partition("/")[0]
            if bucket != self._root and system.exists(bucket):
                return {}
            raise StoreError(f"cannot list {self.location}: {_reason(error)}") from error

    def stat(self, name: str) -> Entry:
        """Return size and tag of an object."""
        with self._as_store_error(f"read {name} in"):
            system = self._file_system
            system.invalidate_cache(self._full(name))
            return _entry(system.info(self._full(name)))

    def stat_all(self, names: Iterable[str], *, alike: bool = False) -> dict[str, Entry]:
        """Return size and tag of many objects: by listings, or of each by itself and many at a time."""
        paths = {self._full(name): name for name in names}
        with self._as_store_error("read in"):
            system = self._file_system
            system.invalidate_cache()
            if alike and can_list_alike(system):
                found = list_alike(system, paths)
            else:
                found = ask_each(system, list(paths)) if system.async_impl else list_folders(system, paths)
        return {name: _entry(found[path]) for path, name in paths.items() if path in found}

    def read(self, name: str, limit: int) -> bytes:
        """Return the content of an object."""
        size = self.stat(name).size
        if size > limit:
            raise StoreError(f"{self.path_of(name)} has {size:,} bytes; files of this kind have at most {limit:,}")
        with self._as_store_error(f"read {name} in"):
            return bytes(self._file_system.cat_file(self._full(name)))

    def read_all(self, names: Iterable[str]) -> dict[str, bytes]:
        """Return the contents of many small objects, several at a time."""
        asked = list(names)
        with self._as_store_error("read in"):
            whole = [None] * len(asked)
            found = self._file_system.cat_ranges([*map(self._full, asked)], whole, whole, on_error="return")
            for content in found:
                if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                    raise content
        return {name: content for name, content in zip(asked, found, strict=True) if isinstance(content, bytes)}

    def open(self, name: str) -> BinaryIO:
        """Open an object to be read from start to end, a few MB at a time."""
        with self._as_store_error(f"read {name} in"):
            file = self._file_system.open(self._full(name), "rb", block_size=_READ_AHEAD, cache_type="readahead")
        return cast(BinaryIO, _Reading(file, self, name))

    def read_ranges(self, ranges: list[tuple[str, int, int]]) -> list[bytes]:
        """Return parts of objects, several at a time."""
        with self._as_store_error("read in"):
            names, starts, ends = (list(column) for column in zip(*ranges, strict=True)) if ranges else ([], [], [])
            found = self._file_system.cat_ranges([self._full(name) for name in names], starts, ends, on_error="raise")
        return [bytes(content) for content in found]

    @contextlib.contextmanager
    def write(self, name: str) -> Iterator[Upload]:
        """Collect the content of an object, and send it when the block succeeds."""
        self.require_writable()
        with spooled_file() as file:
            upload = Upload(file)
            yield upload
            with self._as_store_error("write to"):
                answer = self._send(name, upload.file)
        tag = _tag(answer) if isinstance(answer, dict) else None
        upload.tag = tag or self.stat(name).tag

    def _send(self, name: str, written: HashedFile) -> Any:
        """Send an object: small ones in one request, larger ones in parts that are joined when all have arrived."""
        file = written.reread()
        if written.size <= IN_MEMORY:
            return self._file_system.pipe_file(self._full(name), file.read())
        file.flush()
        return self._file_system.put_file(f"/dev/fd/{file.fileno()}", self._full(name))

    def create(self, name: str, content: bytes) -> None:
        """Write a new object, on condition that there is none.

        Raises:
            FileExistsError: there is one.
            StoreError: the server ignores such conditions, so that two exports could overwrite each other's documents.
        """
        self.require_writable()
        with self._as_store_error("write to"):
            self._create(name, content)
            try:
                self._create(name, content)
            except FileExistsError:
                return
            self._file_system.rm_file(self._full(name))
        raise StoreError(
            f"the server behind {self.location} ignores conditional writes (If-None-Match), so two exports into one "
            "place could overwrite each other's plans: export to another server, or to a local folder"
        )

    def _create(self, name: str, content: bytes) -> None:
        """Write on condition, again if the server says that another conditional write is under way."""
        for attempt in range(_TRIES):
            try:
                self._file_system.pipe_file(self._full(name), content, mode="create")
            except OSError as error:
                if "conflict" not in str(error).lower() or attempt == _TRIES - 1:
                    raise
            else:
                return

    def delete(self, names: Iterable[str]) -> None:
        """Delete objects."""
        paths = [self._full(name) for name in names]
        with self._as_store_error("delete objects in"):
            delete_each(self._file_system, paths)

    def prepare(self) -> None:
        """Check that objects can be written; a bucket is not made."""
        self.require_writable()

    @contextlib.contextmanager
    def lock(self, in_use: str, *, shared: bool) -> Iterator[SharedDescriptor | None]:
        """Do nothing: there are no locks, and none are needed, since equal plans make equal shards."""
        yield None

    def require_writable(self) -> None:
        """Check that the file system can be written to at all."""
        if self._scheme in _READ_ONLY:
            raise StoreError(f"{self._scheme}:// can be read but not written: export to a local folder, then upload it")

    @contextlib.contextmanager
    def _as_store_error(self, action: str) -> Iterator[None]:
        """Give errors of any file system one form; what a caller may expect keeps its type."""
        try:
            yield
        except ProtectError:
            raise
        except FileExistsError as error:
            raise FileExistsError(f"cannot {action} {self.location}: {_reason(error)}") from error
        except FileNotFoundError as error:
            try:
                require_gone(error)
            except Exception as cause:
                raise StoreError(f"cannot {action} {self.location}: {_reason(cause)}{_advice(cause)}") from error
            raise FileNotFoundError(f"cannot {action} {self.location}: {_reason(error)}") from error
        except Exception as error:  # clients of clouds have exceptions of their own
            raise StoreError(f"cannot {action} {self.location}: {_reason(error)}{_advice(error)}") from error


class _Reading(io.RawIOBase):
    """An open object whose errors are those of its store."""

    def __init__(self, file: Any, store: ObjectStore, name: str) -> None:
        self._file, self._store, self._name = file, store, name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def read(self, size: int = -1) -> bytes:
        with self._store._as_store_error(f"read {self._name} in"):
            return bytes(self._file.read(size))

    def close(self) -> None:
        self._file.close()
        super().close()


def _entry(info: dict[str, Any]) -> Entry:
    return Entry(int(info["size"] or 0), _tag(info), _time(info))


def _is_object(name: str, info: dict[str, Any], start: str) -> bool:
    """Return whether this is an object below a prefix, and not an empty one that consoles show as a folder."""
    return info["type"] == "file" and name.startswith(start) and not (name.endswith("/") and not info["size"])


def _tag(info: dict[str, Any]) -> str | None:
    """Return the first value that changes with the object."""
    found = next((info[name] for name in _TAGS if info.get(name) is not None), None)
    if isinstance(found, datetime.datetime):
        found = found.timestamp()
    return None if found is None else str(found).strip('"')


def _time(info: dict[str, Any]) -> float | None:
    found = next((info[name] for name in _TIMES if info.get(name) is not None), None)
    if isinstance(found, str):
        found = datetime.datetime.fromisoformat(found.replace("Z", "+00:00"))
    return found.timestamp() if isinstance(found, datetime.datetime) else found


def _reason(error: Exception) -> str:
    """Return an error as one line, without the parameters of URLs: those that servers redirect to are signed."""
    text = " ".join(str(error).split()) or type(error).__name__
    return _PARAMETERS.sub(r"\1?...", text)


def _advice(error: Exception) -> str:
    if isinstance(error, PermissionError) or "credential" in str(error).lower():
        return "; check the credentials in the environment, and whether they may list, read and write there"
    if "endpoint" in str(error).lower():
        return "; check the network and the endpoint, such as AWS_ENDPOINT_URL where the store is not Amazon's"
    return "; if it was a passing fault, run the same command again"
