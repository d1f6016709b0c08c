"""Croissant, the metadata format of MLCommons for data sets, as JSON-LD."""

import os
from pathlib import PurePosixPath
from typing import Any

from torchprotect.data._tar import BLOCK, parse_header
from torchprotect.data.indexes._croissant_context import CONFORMS_TO, CONTEXT
from torchprotect.data.indexes._shards import Shards, open_shards
from torchprotect.errors import VerificationError

_CLAIM = "The security claim is obfuscation, not cryptographic confidentiality."
_ID = r"^([0-9a-f]{32})(?:\.|$)"  # mlcroissant applies it twice where it joins files
_FORMATS = {
    "png": (["image/png"], "sc:ImageObject"),
    # "text/plain" as well: there mlcroissant gives the bytes of a file, and it knows no npy
    "npy": (["https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html", "text/plain"], "sc:Text"),
}
_ImageFormat = tuple[list[str], str]


def croissant_metadata(export: str | os.PathLike[str]) -> dict[str, Any]:
    """Describe an export in Croissant 1.0, a JSON-LD document about data sets.

    The description lists the shards by URL or absolute path, with size and SHA-256. It has a record set ``images`` and,
    if the export has labels, ``samples`` with ``id``, ``image`` and ``label``; the label is text if images have
    several. All images are assumed to have the format of the first one. The key's fingerprint and the parameters of the
    transform, which are in the manifest, are left out.

    Args:
        export: its folder or URL.

    Raises:
        ExportError: it is not a finished export, or holds no images.
        VerificationError: the manifest is malformed, or the first shard is damaged at its beginning.

    References:
        MLCommons Croissant format specification 1.0.
    """
    shards = open_shards(export)
    kind = _image_kind(shards)
    labeled, several = shards.manifest["labels"] > 0, "classes" in shards.manifest
    contained = [{"@id": entry["name"]} for entry in shards.entries]
    files = [_file_set("image-files", contained, _FORMATS[kind][0], f"*.{kind}")]
    if labeled:
        files.append(_file_set("label-files", contained, ["text/plain"], "*.json" if several else "*.cls"))
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": PurePosixPath(shards.store.location).name,
        "description": _description(shards.manifest),
        "conformsTo": CONFORMS_TO,
        "distribution": [*(_file_object(shards, entry) for entry in shards.entries), *files],
        "recordSet": [_images(_FORMATS[kind]), *([_samples(_FORMATS[kind], several)] if labeled else [])],
    }


def _image_kind(shards: Shards) -> str:
    """Return the extension of the first image."""
    name = shards.entries[0]["name"]
    (header,) = shards.store.read_ranges([(name, 0, BLOCK)])
    try:  # a web server may ignore ranges, and send all of the file
        kind = parse_header(header[:BLOCK])[0].rpartition(".")[2]
    except ValueError:
        kind = ""
    if kind not in _FORMATS:
        path = shards.store.path_of(name)
        raise VerificationError(f"{path} does not begin with an image; `torchprotect verify` checks the whole export")
    return kind


def _description(manifest: dict[str, Any]) -> str:
    names = ", then ".join(step["name"] for step in manifest["transform"])
    hidden = " A perturbation hides nothing from people." if "distance" in manifest else ""
    return f"{manifest['images']:,} images that went through {names}, as WebDataset shards. {_CLAIM}{hidden}"


def _file_object(shards: Shards, entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": entry["name"],
        "name": entry["name"],
        "contentUrl": shards.store.path_of(entry["name"]),
        "contentSize": f"{entry['size']} B",
        "encodingFormat": "application/x-tar",
        "sha256": entry["sha256"],
    }


def _file_set(name: str, contained: list[dict[str, str]], formats: list[str], pattern: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "containedIn": contained,
        "encodingFormat": formats,
        "includes": pattern,
    }


def _images(image: _ImageFormat) -> dict[str, Any]:
    fields = [
        _field("images/id", "sc:Text", _from_files("image-files", "filename", transform={"regex": _ID})),
        _field("images/image", image[1], _from_files("image-files", "content")),
    ]
    return _record_set("images", fields)


def _samples(image: _ImageFormat, several: bool) -> dict[str, Any]:
    """Describe class numbers joined with their images by id; several of an image are text, a list in JSON."""
    source = _from_files("label-files", "filename", transform={"regex": _ID})
    fields = [
        _field("samples/id", "sc:Text", source) | {"references": {"field": {"@id": "images/id"}}},
        _field("samples/image", image[1], {"field": {"@id": "images/image"}}),
        _field("samples/label", "sc:Text" if several else "sc:Integer", _from_files("label-files", "content")),
    ]
    return _record_set("samples", fields)


def _record_set(name: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {"@type": "cr:RecordSet", "@id": name, "name": name, "key": {"@id": f"{name}/id"}, "field": fields}


def _field(name: str, kind: str, source: dict[str, Any]) -> dict[str, Any]:
    return {"@type": "cr:Field", "@id": name, "name": name, "dataType": kind, "source": source}


def _from_files(files: str, what: str, **transform: Any) -> dict[str, Any]:
    return {"fileSet": {"@id": files}, "extract": {"fileProperty": what}, **transform}
