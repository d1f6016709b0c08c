"""CIFAR-10 as torchvision keeps it on disk, unpacked or not."""

import hashlib
import os
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from torchprotect._files import open_regular
from torchprotect.data.sources.arrays import ArraySource
from torchprotect.errors import SourceError


def cifar10(root: Path, split: str) -> ArraySource:
    """Read CIFAR-10 from torchvision's ``root``; ``split`` is ``train`` or ``test``.

    torchvision itself opens the batches, which are pickles, after checking their MD5 sums. A packed archive has to have
    the MD5 sum of the original too; its batches are then unpacked in memory, so that no plain image reaches a disk.
    """
    from torchvision.datasets import CIFAR10

    folder, archive = root / CIFAR10.base_folder, root / CIFAR10.filename
    try:
        if folder.is_dir() or not archive.is_file():
            loaded = CIFAR10(root, train=split == "train")
        else:
            with _unpacked(archive, CIFAR10) as in_memory:
                loaded = in_memory(root, train=split == "train")
    except (RuntimeError, OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise (
            error if isinstance(error, SourceError) else SourceError(_missing(root, folder.name, archive.name))
        ) from error
    images, labels = loaded.data.transpose(0, 3, 1, 2), np.array(loaded.targets)
    return ArraySource(f"cifar10/{split}", folder, images, labels, tuple(loaded.classes))


def _missing(root: Path, folder: str, archive: str) -> str:
    return f"no intact CIFAR-10 in {root}: expected {folder}/ or {archive}, as torchvision downloads them"


@contextmanager
def _unpacked(path: Path, original: Any) -> Iterator[Any]:
    """Yield torchvision's class with its files in memory, where they stay until the block ends.

    A crafted archive could write outside the folder it is unpacked into, or fill the disk: only the original is opened.
    """
    if not hasattr(os, "memfd_create"):
        raise SourceError(f"this system has no files in memory (memfd): unpack {path} beside it, then open it again")
    wanted = {name for name, _ in (*original.train_list, *original.test_list)} | {original.meta["filename"]}
    with open_regular(path) as file, ExitStack() as opened:
        if _md5(file) != original.tgz_md5:
            raise SourceError(f"{path} is not the original CIFAR-10 archive: its MD5 sum differs; download it again")
        file.seek(0)
        paths = {}
        with tarfile.open(fileobj=file, mode="r:gz") as archive:
            for member in archive:
                name = member.name.removeprefix(f"{original.base_folder}/")
                content = archive.extractfile(member) if name in wanted else None
                if content is not None:
                    descriptor = os.memfd_create(name)
                    opened.callback(os.close, descriptor)
                    with open(descriptor, "wb", closefd=False) as copy:
                        copy.write(content.read())
                    paths[name] = f"/proc/self/fd/{descriptor}"
        yield type("CIFAR10InMemory", (original,), _relocated(original, paths))


def _relocated(original: Any, paths: dict[str, str]) -> dict[str, Any]:
    """Return the file lists of torchvision's class with absolute paths, which override its root."""
    lists = {
        name: [[paths.get(file, file), digest] for file, digest in getattr(original, name)]
        for name in ("train_list", "test_list")
    }
    meta = original.meta["filename"]
    return {**lists, "meta": {**original.meta, "filename": paths.get(meta, meta)}}


def _md5(file: BinaryIO) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()
