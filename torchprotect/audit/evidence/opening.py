"""From an export and the owner's images to evidence."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from torchprotect import data
from torchprotect._inputs import require_int
from torchprotect.attacks import Scheme
from torchprotect.audit.evidence.evidence import Evidence, tensor_digest
from torchprotect.data import Source, manifest
from torchprotect.data.finished import FinishedExport, Identities, open_finished
from torchprotect.data.images import ExportedImages, read_images
from torchprotect.data.pairing import find_plain_images
from torchprotect.data.sources import as_source, read_samples
from torchprotect.data.store import Store
from torchprotect.errors import ExportError, ProtectError, SourceError
from torchprotect.keys import CorrespondenceKey, Key, KeyBundle, PermutationKey


def open_evidence(
    export: str | os.PathLike[str],
    plain: Any = None,
    key: Key | None = None,
    *,
    identity: Identities = None,
    limit: int = 10_000,
) -> Evidence:
    """Verify an export, read it, and find the plain image of each disguised one.

    Args:
        export: folder or URL of a finished export.
        plain: the source it was made from, by name or opened; ``None`` leaves attacks out that need plain images.
        key: the key it was made with. It pairs plain and disguised images and tells the truth for scores; attacks never
            get it. ``None`` leaves attacks out that need pairs.
        identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`; the key does too.
        limit: images to read at most. An export is written in a keyed order, so the first ones are a fair sample.

    Raises:
        ExportError: ``export`` is no finished export, or holds images of several sizes.
        EnvelopeError: it is sealed, and neither identity nor key opens it.
        VerificationError: it is not what its manifest says.
        SourceError: ``plain`` cannot be read, or is not the source of this export.
    """
    require_int("limit", limit, at_least=1)
    data.verify(export, key, identity=identity)
    opened = open_finished(export, identity=identity, key=key)
    store, document = opened.store, opened.manifest
    written = read_images(store, document, limit)
    given = None if plain is None else (data.open_source(plain) if isinstance(plain, str) else as_source(plain))
    bundle = key if isinstance(key, KeyBundle) else None
    label_map = bundle.labels.labels if bundle is not None and bundle.labels is not None else None
    found: dict[str, Any] = {}
    if given is not None and key is not None:
        paired = find_plain_images(store, given, key, written)
        found = {"plain": paired.images, "plain_labels": paired.labels, "pairing": torch.arange(len(written.images))}
    elif given is not None:
        images, labels = _read_evenly(given, limit)
        found = {"plain": images, "plain_labels": labels}
    return Evidence(
        disguised=written.images,
        scheme=_scheme(document),
        labels=written.labels,
        **found,
        order=_order(key),
        correspondence=_correspondence(key),
        label_map=label_map,
        folder=_files(opened),
        about={**_about(document, store, written, found), "hmac_checked": key is not None},
    )


def _files(export: FinishedExport) -> Path | dict[str, Callable[[], BinaryIO]]:
    """Return the files of an export, opened: of an open one in a folder, the folder."""
    if export.store.local and export.public is None:
        return Path(export.store.location)
    return {name: partial(export.store.open, name) for name in export.store.entries()}


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
    """Return the targets of each class; nothing where released labels name other classes than the targets do."""
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
    labels = [sample.label for sample in samples if isinstance(sample.label, int)]  # several labels tell no class
    known = torch.tensor(labels) if len(labels) == len(samples) else None
    return torch.stack([sample.image for sample in samples]), known


def _about(document: dict[str, Any], store: Store, written: ExportedImages, found: dict[str, Any]) -> dict[str, Any]:
    digests = {
        "manifest_sha256": manifest.sha256_of(store, manifest.MANIFEST),
        "disguised_sha256": tensor_digest(written.images),
        "plain_sha256": tensor_digest(found["plain"]) if "plain" in found else None,
    }
    return {
        "images_in_export": document["images"],
        "shards": len(document["shards"]),
        "plain_dtype": document["plain"]["dtype"],
        "key_fingerprint": document["key"],
        "security_claim": document.get("security_claim"),
        "distance": document.get("distance"),
        **digests,
    }
