"""Sources of plain images: folders, tar files, well-known data sets, and data sets given in Python."""

import os
from pathlib import Path
from typing import Any

from torchprotect._files import require_local
from torchprotect.data.sources._base import Sample, Source, read_samples
from torchprotect.data.sources.arrays import fashion_mnist, mnist
from torchprotect.data.sources.cifar import cifar10
from torchprotect.data.sources.dataset import DatasetSource
from torchprotect.data.sources.folder import ImageFolderSource
from torchprotect.data.sources.tar import TarSource
from torchprotect.errors import ExportError, SourceError

__all__ = ["Sample", "Source", "as_source", "open_source", "read_samples"]

_SETS = {"mnist": mnist, "fashion-mnist": fashion_mnist, "cifar10": cifar10}
_SPLITS = ("train", "test")
_TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")


def open_source(spec: str | os.PathLike[str]) -> Source:
    """Open a source of plain images by its name on the command line.

    Args:
        spec: an image folder (``root/class/picture.png``); a WebDataset pattern (``train-{000000..000020}.tar``, also
            ``.tar.gz``); or ``mnist:ROOT``, ``fashion-mnist:ROOT``, ``cifar10:ROOT`` with torchvision's root,
            optionally followed by ``:test`` for the test split.

    Raises:
        SourceError: there is no such source, or it holds no images.
    """
    require_local(spec)
    spec = os.fspath(spec)
    scheme, _, rest = spec.partition(":")
    if scheme in _SETS:
        root, _, split = rest.rpartition(":") if rest.rpartition(":")[2] in _SPLITS else (rest, "", "train")
        return _SETS[scheme](Path(root), split)
    if spec.endswith(_TAR_SUFFIXES):
        return TarSource(_expand(spec))
    if os.path.isdir(spec):  # noqa: PTH112 - Path.is_dir raises where a name is too long
        return ImageFolderSource(Path(spec))
    raise SourceError(
        f"{spec} is no image folder, no .tar pattern and none of {', '.join(f'{name}:ROOT' for name in _SETS)}"
    )


def _expand(pattern: str) -> list[Path]:
    from webdataset.shardlists import expand_urls

    paths = [Path(name) for name in expand_urls(pattern)]
    if "*" in pattern and not all(path.exists() for path in paths):
        raise SourceError(f"{pattern} is no pattern of shards: use braces, as in train-{{000000..000020}}.tar")
    if special := [path for path in paths if path.exists() and not path.is_file()]:
        raise SourceError(f"{special[0]} is not a regular file; a shard is read by offset")
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise SourceError(
            f"{missing[0]} does not exist ({len(missing)} of {len(paths)} shards of {pattern} are missing)"
        )
    return paths


def as_source(dataset: Any) -> Source:
    """Return ``dataset`` if it is a source, else wrap a map-style dataset of ``(image, label)``.

    Raises:
        ExportError: it has no length, or it is a source that lacks a member.
    """
    if isinstance(dataset, str | Path):
        raise ExportError(f"{str(dataset)!r} is a name; open it with data.open_source first")
    if not hasattr(dataset, "listing"):
        return DatasetSource(dataset)
    if missing := [name for name in ("folders", "left_out", "name", "locate", "content") if not hasattr(dataset, name)]:
        raise ExportError(f"{type(dataset).__name__} is no data.Source: it lacks {', '.join(missing)}")
    return dataset
