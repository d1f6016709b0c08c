"""Sources of plain images: folders, tar files, well-known data sets, and data sets given in Python."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchprotect.data.sources._base import (
    Header,
    Label,
    Sample,
    Source,
    class_names_of,
    describe_source,
    prepare_source,
    read_samples,
    unprepared,
)
from torchprotect.data.sources._label_members import LabelMembers
from torchprotect.data.sources._labels_from import LabelsFrom
from torchprotect.data.sources._pictures import IMAGE_EXTENSIONS, decode, prepare_tensor, to_tensor
from torchprotect.data.sources.arrays import fashion_mnist, mnist
from torchprotect.data.sources.bucket import BucketFolderSource
from torchprotect.data.sources.cifar import cifar10
from torchprotect.data.sources.dataset import DatasetSource
from torchprotect.data.sources.folder import ImageFolderSource, Layout
from torchprotect.data.sources.labelled import renumber
from torchprotect.data.sources.patterns import is_pattern, open_local_tars, open_remote_tars
from torchprotect.data.sources.subset import SubsetSource, flatten
from torchprotect.data.store import is_url, normalise_url
from torchprotect.errors import ExportError, SourceError

__all__ = [
    "IMAGE_EXTENSIONS",
    "Header",
    "Label",
    "Sample",
    "Source",
    "as_source",
    "class_names_of",
    "decode",
    "describe_source",
    "open_source",
    "open_sources",
    "prepare_source",
    "prepare_tensor",
    "read_samples",
    "renumber",
    "to_tensor",
    "unprepared",
]

_SETS = {"mnist": mnist, "fashion-mnist": fashion_mnist, "cifar10": cifar10}
_SPLITS = ("train", "test")


def open_source(
    spec: str | os.PathLike[str],
    *,
    cache: str | os.PathLike[str] | None = None,
    index: str | os.PathLike[str] | None = None,
    labels_from: str | os.PathLike[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> Source:
    """Open a source of plain images, by a name as on the command line.

    A source behind a URL is read in the state in which it was opened: an export stops at an object that has changed
    since.

    Args:
        spec: an image folder (``root/class/picture.png``); a WebDataset pattern (``train-{000000..000020}.tar``, or
            ``.tar.gz`` for local files); or ``mnist:ROOT``, ``fashion-mnist:ROOT`` or ``cifar10:ROOT`` with
            torchvision's root, optionally followed by ``:test`` for the test split. Folders and patterns may be URLs
            that fsspec knows, such as ``s3://bucket/images/`` or ``hf://datasets/OWNER/NAME/train-{000..099}.tar``.
            Patterns may also be URLs of a web server that supports range requests. Credentials and endpoints come from
            the environment or from fsspec's configuration files, never from the URL.
        cache: local folder for copies of whole tars behind a URL; each is made when a process first needs it. This is
            faster than reading parts of tars if images have less than about 100 KB. Nothing is ever deleted from it.
        index: path or URL of a file that records where all samples lie in the tars. If it exists, the tars are not read
            from start to end; otherwise it is created, and other runs and machines can use it. It holds the names of
            the samples, so keep it beside the source, never in the export. Whoever can write it decides which bytes are
            read as which sample.
        labels_from: where labels come from. ``None``: class folders, ``.cls`` members, or the labels of a known set.
            ``"none"``: no labels. ``"txt"``: the lines of the member ``KEY.txt``, or of the file ``picture.txt`` beside
            each picture of a local folder. ``"json:FIELD"``: a field of ``KEY.json`` or ``picture.json``; dots lead
            into nested objects. Or the path or URL of a ``.csv`` or ``.jsonl`` file with the name of each sample
            (``file_name``) and its ``label``, or several ``labels``. Class folders are ignored unless this is ``None``.
            Class numbers are used as they are; names are numbered in sorted order. If any sample has several labels,
            every sample has a tuple of them.
        class_names: names of the classes from 0 up, such as those of an earlier export. They fix the class numbers,
            even if a class has no images here.

    Raises:
        SourceError: there is no such source, it holds no images, the index does not belong to these tars, or labels
            cannot be read.
        LabelError: no sample has a label, names and numbers are mixed, or a label is not among ``class_names``.
        StoreError: the URL contains credentials, or its store cannot be reached or refuses access.
    """
    wanted = LabelsFrom.parse(labels_from, class_names)
    members = wanted.members(index)
    return wanted.attach(_open(spec, cache, index, members, wanted.layout), members)


def open_sources(
    specs: Mapping[str, str | os.PathLike[str]],
    *,
    cache: str | os.PathLike[str] | None = None,
    labels_from: str | os.PathLike[str] | None = None,
    class_names: Sequence[str] | None = None,
) -> dict[str, Source]:
    """Open the sources of several splits, each as by :func:`open_source`, with one numbering of the classes.

    A ``.csv`` or ``.jsonl`` file labels all of them together: each row must name a sample of one of the sources.

    Args:
        specs: the sources by the name of their split.
        cache: as for :func:`open_source`.
        labels_from: as for :func:`open_source`.
        class_names: as for :func:`open_source`.
    """
    wanted = LabelsFrom.parse(labels_from, class_names)
    opened = {}
    for name, spec in specs.items():
        members = wanted.members(None)
        opened[name] = _open(spec, cache, None, members, wanted.layout), members
    return dict(zip(opened, wanted.attach_together(list(opened.values())), strict=True))


def _open(
    spec: str | os.PathLike[str],
    cache: str | os.PathLike[str] | None,
    index: str | os.PathLike[str] | None,
    members: LabelMembers,
    layout: Layout,
) -> Source:
    if is_url(spec):
        return _open_url(os.fspath(spec), cache, index, members, layout)
    spec = os.fspath(spec)
    if cache is not None:
        raise SourceError(f"a cache is for tars behind a URL; {spec} is local already, leave the cache out")
    scheme, _, rest = spec.partition(":")
    if scheme not in _SETS and is_pattern(spec):
        return open_local_tars(spec, index, members)
    if index is not None:
        raise SourceError(f"an index is for tars, and {spec} is none; leave it out")
    if scheme in _SETS:
        root, _, split = rest.rpartition(":") if rest.rpartition(":")[2] in _SPLITS else (rest, "", "train")
        return _SETS[scheme](Path(root), split)
    if os.path.isdir(spec):  # noqa: PTH112 - Path.is_dir raises where a name is too long
        return ImageFolderSource(Path(spec), layout=layout)
    raise SourceError(
        f"{spec} is neither an image folder nor a .tar pattern nor one of {', '.join(f'{name}:ROOT' for name in _SETS)}"
    )


def _open_url(
    url: str,
    cache: str | os.PathLike[str] | None,
    index: str | os.PathLike[str] | None,
    members: LabelMembers,
    layout: Layout,
) -> Source:
    url = normalise_url(url)
    scheme, _, rest = url.partition("://")
    if scheme == "file":
        return _open(rest, cache, index, members, layout)
    if is_pattern(url):
        return open_remote_tars(url, cache, index, members)
    if cache is not None or index is not None:
        raise SourceError(f"a cache and an index are for tars, and {url} is none; leave them out")
    if scheme in ("http", "https"):
        raise SourceError(f"{url} is not a .tar pattern, and a web server does not list folders")
    return BucketFolderSource(url, layout=layout)


def as_source(dataset: Any) -> Source:
    """Return ``dataset`` if it is a source or a subset of one, else wrap a map-style dataset of ``(image, label)``.

    Raises:
        ExportError: it has no length, or it is a source that lacks a member.
        SourceError: a subset selects samples that the source does not have.
    """
    if isinstance(dataset, str | Path):
        raise ExportError(f"{str(dataset)!r} is a name; open it with data.open_source first")
    whole, places = flatten(dataset)
    if not hasattr(whole, "listing"):
        return DatasetSource(dataset)
    if places is not None:
        return SubsetSource(as_source(whole), places)
    if missing := [name for name in ("folders", "left_out", "name", "locate", "content") if not hasattr(dataset, name)]:
        raise ExportError(f"{type(dataset).__name__} is not a data.Source: it lacks {', '.join(missing)}")
    return dataset
