"""What a file system says of many objects."""

import asyncio
from collections.abc import Iterable
from typing import Any

_AT_ONCE = 64
_GONE = (404, 410)


def ask_each(system: Any, paths: list[str]) -> dict[str, Any]:
    """Ask for each object by itself, many at a time; those that are gone are left out."""
    from fsspec.asyn import sync

    found = sync(system.loop, _ask_each, system, paths)
    return {path: info for path, info in zip(paths, found, strict=True) if info is not None and info["type"] == "file"}


def list_folders(system: Any, paths: Iterable[str]) -> dict[str, Any]:
    """List the folder of each object, once: for file systems that answer one question at a time."""
    wanted, found = set(paths), dict[str, Any]()
    for folder in sorted({path.rpartition("/")[0] for path in wanted}):
        try:
            entries = system.ls(folder, detail=True)
        except FileNotFoundError:
            continue
        found.update({info["name"]: info for info in entries if info["type"] == "file" and info["name"] in wanted})
    return found


async def _ask_each(system: Any, paths: list[str]) -> list[Any]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(path: str) -> Any:
        async with gate:
            try:
                return await system._info(path)
            except FileNotFoundError as error:
                _require_gone(system, error)
                return None

    return await asyncio.gather(*map(ask, paths))


def _require_gone(system: Any, error: FileNotFoundError) -> None:
    """Raise what is behind the error of a web server: its file system says "not found" whatever has failed."""
    cause = error.__cause__
    protocols = (system.protocol,) if isinstance(system.protocol, str) else system.protocol
    if "http" in protocols and cause is not None and getattr(cause, "status", None) not in _GONE:
        raise cause
