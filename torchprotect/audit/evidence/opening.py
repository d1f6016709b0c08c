"""Make evidence from an export and the owner's images."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from torchprotect import data
from torchprotect._inputs import require_int
from torchprotect.attacks import Scheme
from torchprotect.audit.evidence.evidence import Evidence, tensor_digest
from torchprotect.data import Source, manifest
from torchprotect.data.finished import FinishedExport, Identities, open_finished, owner_of
from torchprotect.data.images import ExportedImages, read_images
from torchprotect.data.pairing import find_plain_images
from torchprotect.data.preparation import Preparation
from torchprotect.data.several import Exports, as_list, require_one_key, require_same_classes
from torchprotect.data.sources import as_source, class_names_of, prepare_source, read_samples, renumber
from torchprotect.errors import ExportError, ProtectError, SourceError
from torchprotect.keys import CorrespondenceKey, Key, KeyBundle, PermutationKey


def open_evidence(
    export: Exports,
    plain: Any = None,
    key: Key | None = None,
    *,
    identity: Identities = None,
    labels_from: str | None = None,
    limit: int = 10_000,
) -> Evidence:
    """Verify an export, read it, and find the plain image of each disguised one.

    Args:
        export: folder or URL of a finished export; or those of several exports of one key.
        plain: the source it was made from, by name or opened; for several exports, a list with one source each. Its
            pictures are prepared as for the export. ``None`` skips attacks that need plain images.
        key: the key it was made with. It pairs plain and disguised images, and provides the truth for scores; attacks
            never receive it. ``None`` skips attacks that need pairs.
        identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`; the key does too.
        labels_from: where labels of sources given by name come from, as for :func:`torchprotect.data.open_source`.
        limit: largest number of images to read. An export is written in a keyed order, so the first ones are a fair
            sample.

    Raises:
        ExportError: ``export`` is not a finished export, or holds images of several sizes.
        EnvelopeError: it is sealed, and neither identity nor key opens it.
        VerificationError: it does not match its manifest.
        SourceError: ``plain`` cannot be read, or is not the source of this export.
    """
    require_int("limit", limit, at_least=1)
    exports = as_list(export)
    for each in exports:
        data.verify(each, key, identity=identity)
    opened = [open_finished(each, identity=identity, key=key) for each in exports]
    require_one_key(opened)
    if key is not None:
        require_same_classes(opened, key)
    sources = _sources(plain, opened, key, labels_from)
    share = -(-limit // len(opened))
    parts = [_open_part(each, source, key, share) for each, source in zip(opened, sources, strict=True)]
    bundle = key if isinstance(key, KeyBundle) else None
    label_map = bundle.labels.labels if bundle is not None and bundle.labels is not None else None
    disguised = _joined([part.written.images for part in parts])
    assert disguised is not None  # noqa: S101 - every export has images; tells the type checker
    found = {"plain": _joined([part.plain for part in parts]), "plain_labels": _joined([p.labels for p in parts])}
    paired = found["plain"] is not None and key is not None
    written = _joined([part.written.labels for part in parts])
    if paired:
        _require_same_labels(written, found["plain_labels"], label_map)
    return Evidence(
        disguised=disguised,
        scheme=_scheme(opened[0].manifest),
        labels=written,
        **found,
        pairing=torch.arange(len(disguised)) if paired else None,
        order=_order(key),
        correspondence=_correspondence(key),
        label_map=label_map,
        folder=_files(opened),
        about={**_about(opened, disguised, found["plain"]), "hmac_checked": key is not None},
    )


def _require_same_labels(written: Tensor | None, plain: Tensor | None, label_map: Tensor | None) -> None:
    """Check that the labels of pairs are the same, but for their renaming.

    Raises:
        SourceError: they are not: the source numbers its classes in another way than the one that was exported.
    """
    if written is None or plain is None or (label_map is not None and int(plain.max()) >= len(label_map)):
        return
    wrong = int((written != (plain if label_map is None else label_map[plain])).sum())
    if wrong:
        raise SourceError(
            f"{wrong:,} of {len(written):,} exported labels are not those of the plain source: its classes have other "
            "numbers, or labels were changed. Open it with class_names= of the export (data.read_owner has them)"
        )


class _Part(NamedTuple):
    """The content of one export: its samples, and their plain images and labels."""

    written: ExportedImages
    plain: Tensor | None
    labels: Tensor | None


def _open_part(export: FinishedExport, source: Source | None, key: Key | None, limit: int) -> _Part:
    written = read_images(export.store, export.manifest, limit)
    if source is None:
        return _Part(written, None, None)
    if key is None:
        return _Part(written, *_read_evenly(source, limit))
    return _Part(written, *find_plain_images(export.store, source, key, written))


def _joined(parts: list[Tensor | None]) -> Tensor | None:
    """Concatenate tensors; ``None`` unless all are known."""
    known = [part for part in parts if part is not None]
    return torch.cat(known) if len(known) == len(parts) else None


def _sources(plain: Any, opened: list[FinishedExport], key: Key | None, labels_from: str | None) -> list[Source | None]:
    """Return the source of each export, prepared as the export was."""
    if plain is None:
        return [None] * len(opened)
    given = [plain] if len(opened) == 1 and not isinstance(plain, list | tuple) else plain
    if len(opened) == 1 and len(given) != 1:
        given = [plain]  # a data set that is a list
    if not isinstance(given, list | tuple) or len(given) != len(opened):
        raise SourceError(
            f"{len(opened)} exports need {len(opened)} plain sources, in the same order: give one for each (--plain "
            "repeated)"
        )
    if all(isinstance(each, str | os.PathLike) for each in given):
        names = _class_names(opened, key) if labels_from != "none" else None
        specs = {str(number): each for number, each in enumerate(given)}
        given = list(data.open_sources(specs, labels_from=labels_from, class_names=names).values())
    names = _class_names(opened, key)
    return [
        prepare_source(
            _renumbered(as_source(each), names), Preparation.from_description(export.manifest.get("prepare", {}))
        )
        for each, export in zip(given, opened, strict=True)
    ]


def _renumbered(source: Source, names: tuple[str, ...] | None) -> Source:
    """Return a source whose classes have the numbers that they have in the export."""
    own = class_names_of(source)
    if (
        names is None
        or own is None
        or own == names
        or not set(own) <= set(names)
        or not hasattr(source, "known_labels")
    ):
        return source
    return renumber(source, names)


def _class_names(opened: list[FinishedExport], key: Key | None) -> tuple[str, ...] | None:
    """Return the names of the classes from 0 up, as the owner's files have them; later exports may have added some."""
    owners = [] if key is None else [owner_of(export, key) for export in opened]
    return max((owner.class_names for owner in owners if owner and owner.class_names), key=len, default=None)


def _files(exports: list[FinishedExport]) -> Path | dict[str, Callable[[], BinaryIO]]:
    """Return the decrypted files of exports; for a single open export in a folder, the folder."""
    first = exports[0]
    if len(exports) == 1 and first.store.local and first.public is None:
        return Path(first.store.location)
    prefixes = [""] if len(exports) == 1 else [f"{number}/" for number in range(1, len(exports) + 1)]
    return {
        f"{prefix}{name}": partial(export.store.open, name)
        for prefix, export in zip(prefixes, exports, strict=True)
        for name in export.store.entries()
    }


def _scheme(document: dict[str, Any]) -> Scheme:
    try:
        return Scheme.of(document)
    except ProtectError as error:
        raise ExportError(f"the manifest does not describe a disguise that can be audited: {error}") from error


def _order(key: Key | None) -> Tensor | None:
    if isinstance(key, PermutationKey):
        return key.order
    if not isinstance(key, KeyBundle) or isinstance(key.transform, CorrespondenceKey):
        return None
    permutation = key.transform if isinstance(key.transform, PermutationKey) else key.permutation
    return None if permutation is None else permutation.order


def _correspondence(key: Key | None) -> Tensor | None:
    """Return the targets of each class; ``None`` if released labels number classes differently than the targets."""
    if isinstance(key, KeyBundle):
        key = key.transform if key.labels is None else None
    return key.targets if isinstance(key, CorrespondenceKey) else None


def _read_evenly(source: Source, limit: int) -> tuple[Tensor, Tensor | None]:
    """Read evenly spaced images of a source."""
    count = min(limit, len(source))
    samples = []
    for sample in read_samples(source, [index * len(source) // count for index in range(count)]):
        if isinstance(sample, SourceError):
            raise sample
        samples.append(sample)
    if len({sample.image.shape for sample in samples}) > 1:
        raise SourceError("the plain images have several sizes, so they cannot be the ones an audit needs")
    labels = [sample.label for sample in samples if isinstance(sample.label, int)]  # several name no class
    known = torch.tensor(labels) if len(labels) == len(samples) else None
    return torch.stack([sample.image for sample in samples]), known


def _about(exports: list[FinishedExport], disguised: Tensor, plain: Tensor | None) -> dict[str, Any]:
    document = exports[0].manifest
    manifests = [manifest.sha256_of(export.store, manifest.MANIFEST) for export in exports]
    return {
        "images_in_export": sum(export.manifest["images"] for export in exports),
        "shards": sum(len(export.manifest["shards"]) for export in exports),
        "plain_dtype": document["plain"]["dtype"],
        "key_fingerprint": document["key"],
        "security_claim": document.get("security_claim"),
        "distance": document.get("distance") if len(exports) == 1 else None,
        "manifest_sha256": manifests[0] if len(manifests) == 1 else ", ".join(manifests),
        "disguised_sha256": tensor_digest(disguised),
        "plain_sha256": None if plain is None else tensor_digest(plain),
    }
