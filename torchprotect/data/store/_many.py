"""Query and delete many objects of a file system."""

import asyncio
import contextlib
import inspect
import os
from collections.abc import Iterable
from typing import Any

_AT_ONCE = 64
_GONE = (404, 410)


def ask_each(system: Any, paths: list[str]) -> dict[str, Any]:
    """Ask for each object by itself, many at a time; those that are gone are left out."""
    from fsspec.asyn import sync

    found = sync(system.loop, _ask_each, system, paths)
    return {path: info for path, info in zip(paths, found, strict=True) if info is not None and info["type"] == "file"}


def can_list_alike(system: Any) -> bool:
    """Return whether a file system can list only the objects whose names begin in the same way."""
    return system.async_impl and "prefix" in inspect.signature(system._find).parameters


def list_alike(system: Any, paths: Iterable[str]) -> dict[str, Any]:
    """List the objects whose names begin like those asked for, folder by folder."""
    found = dict[str, Any]()
    for folder, wanted in _by_folder(paths).items():
        prefix = os.path.commonprefix([path.rpartition("/")[2] for path in wanted])  # noqa: RUF071 - of characters
        try:
            listed = system.find(folder, prefix=prefix, detail=True)
        except FileNotFoundError:
            continue
        found.update({path: listed[path] for path in wanted if path in listed and listed[path]["type"] == "file"})
    return found


def list_folders(system: Any, paths: Iterable[str]) -> dict[str, Any]:
    """List the folder of each object, once: for file systems that answer one question at a time."""
    found = dict[str, Any]()
    for folder, wanted in _by_folder(paths).items():
        try:
            entries = system.ls(folder, detail=True)
        except FileNotFoundError:
            continue
        found.update({info["name"]: info for info in entries if info["type"] == "file" and info["name"] in wanted})
    return found


def _by_folder(paths: Iterable[str]) -> dict[str, set[str]]:
    folders: dict[str, set[str]] = {}
    for path in paths:
        folders.setdefault(path.rpartition("/")[0], set()).add(path)
    return folders


def delete_each(system: Any, paths: list[str]) -> None:
    """Delete each object, many at a time; missing ones are skipped, and no name is interpreted as a pattern."""
    if not system.async_impl:
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                system.rm_file(path)
        return
    from fsspec.asyn import sync

    sync(system.loop, _delete_each, system, paths)


async def _delete_each(system: Any, paths: list[str]) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def delete(path: str) -> None:
        async with gate:
            with contextlib.suppress(FileNotFoundError):
                await system._rm_file(path)

    await asyncio.gather(*map(delete, paths))


async def _ask_each(system: Any, paths: list[str]) -> list[Any]:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def ask(path: str) -> Any:
        async with gate:
            try:
                return await system._info(path)
            except FileNotFoundError as error:
                require_gone(error)
                return None

    return await asyncio.gather(*map(ask, paths))


def require_gone(error: FileNotFoundError) -> None:
    """Re-raise the cause of a web server's error, whose file system says "not found" for every failure."""
    cause = error.__cause__
    if type(cause).__module__.partition(".")[0] == "aiohttp" and getattr(cause, "status", None) not in _GONE:
        raise cause  # type: ignore[misc]
