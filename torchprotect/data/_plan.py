"""The plan of an export: all that decides its bytes; and the job that makes its shards."""

import hmac
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from torchprotect._version import __version__
from torchprotect.data import manifest as documents
from torchprotect.data._job import DisguiseJob
from torchprotect.data.keyed import keyed_order, noise_key
from torchprotect.data.sealed_manifest import envelope_member
from torchprotect.data.sources import Sample, Source
from torchprotect.errors import ExportError, KeySizeError, LabelError, ProtectError, SourceError
from torchprotect.keys import Key, KeyBundle
from torchprotect.transforms.pipeline import Pipeline


def make_job(
    source: Source, pipeline: Pipeline, key: Key, described: list[dict[str, Any]], *, skip_unfit: bool
) -> DisguiseJob:
    """Return the job; the first sample that fits has been disguised by it, so that mistakes show at once.

    Args:
        source: plain images.
        pipeline: the disguise.
        key: that signs the export.
        described: ``pipeline.describe()``, which digests all weights of a model.
        skip_unfit: leave images out that cannot be read or do not fit, instead of stopping.

    Raises:
        ExportError: no sample fits, or disguising one twice gives two results.
        SourceError, LabelError, KeySizeError: the first sample does not fit, and samples must not be skipped.
    """
    job = DisguiseJob(
        source,
        pipeline,
        key.labels if isinstance(key, KeyBundle) else None,
        key.subkey("manifest"),
        key.subkey("id"),
        noise_key(key.subkey("noise"), described),
        torch.uint8,  # this and the next are set by the first sample
        False,
        skip_unfit,
    )
    known = source.known_labels() if hasattr(source, "known_labels") else None
    first_error: ProtectError | None = None
    for index in range(len(source)):
        try:
            image, label = source[index]
            labelled = any(each is not None for each in (known or [label]))
            job = replace(job, dtype=image.dtype, labelled=labelled)
            job.check_label(label, source.locate(index))
            _require_repeatable(job, index, Sample(image, label))
        except (SourceError, LabelError, KeySizeError) as error:
            if not skip_unfit:
                raise
            first_error = first_error or error
        else:
            return job
    raise ExportError(f"no image of the source can be exported; of the first one: {first_error}")


def _require_repeatable(job: DisguiseJob, index: int, sample: Sample) -> None:
    """Read and disguise one sample twice, and compare."""
    again = job.source[index].image
    identity = job.sample_id(index, sample.image)
    try:
        first, second = (
            job.disguise(image[None], [identity], [sample.label]).images for image in (sample.image, again)
        )
    except KeySizeError as error:
        raise KeySizeError(f"sample {job.source.locate(index)}: {error}") from error
    if not torch.equal(first, second):
        raise ExportError("reading and disguising one sample twice gave two results; an export must be repeatable")


def make_plan(
    job: DisguiseJob, key: Key, described: list[dict[str, Any]], shard_size: int, *, generation: int | None
) -> dict[str, Any]:
    """Return the unsigned plan; that of a sealed export has a generation."""
    listing = hmac.new(key.subkey("manifest"), digestmod="sha256")
    for line in job.source.listing():
        listing.update(len(line).to_bytes(8, "little") + line)
    plan = {
        "format": documents.PLAN_FORMAT,
        "version": documents.VERSION,
        "torchprotect": __version__,
        "source": listing.hexdigest(),
        "transform": described,
        "plain": {"dtype": str(job.dtype).removeprefix("torch."), "scale": 255 if job.dtype == torch.uint8 else 1},
        "key": key.fingerprint,
        "images": len(job.source),
        "shard_size": shard_size,
    }
    return plan if generation is None else plan | {"envelope": envelope_member(generation)}


def plan_shards(plan: dict[str, Any], key: Key, part: tuple[int, int] | None = None) -> dict[int, NDArray[np.int64]]:
    """Return the source indices of the samples of each shard, in the order in which they are written.

    Args:
        plan: of the export.
        key: that signs it.
        part: index of the part whose shards are wanted, and the number of parts; ``None`` for all shards.
    """
    order, size = keyed_order(key.subkey("order"), plan["images"]), plan["shard_size"]
    first, step = (0, 1) if part is None else part
    count = -(-len(order) // size)
    return {index: order[index * size : (index + 1) * size] for index in range(first, count, step)}
