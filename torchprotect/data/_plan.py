"""The plan of an export (everything that determines its bytes) and the job that makes its shards."""

import hmac
import itertools
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from torchprotect._version import __version__
from torchprotect.data import manifest as documents
from torchprotect.data._job import DisguiseJob
from torchprotect.data._labels import count_classes
from torchprotect.data._preflight import check_labels, common_shape_first, explain_unfit
from torchprotect.data.keyed import keyed_order, noise_key
from torchprotect.data.owner import OWNER
from torchprotect.data.preparation import Preparation, Shape, decoder_versions
from torchprotect.data.sealed_manifest import envelope_member
from torchprotect.data.sources import Sample, Source, prepare_source
from torchprotect.errors import ExportError, InputTypeError, KeySizeError, LabelError, ProtectError, SourceError
from torchprotect.keys import Key, KeyBundle
from torchprotect.transforms.pipeline import Pipeline


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """Everything that determines the bytes of an export, except source, transform and key.

    Attributes:
        shard_size: images per shard.
        preparation: steps before the transform.
        split: name that order, ids and noise depend on, or ``None``.
        store: dtype that floating-point images are rounded to, or ``None``.
        owner_file: whether names are kept with the export, for the key holder.
        generation: generation of the data key; ``None`` for an open export.
        generation_given: whether the user chose it.
    """

    shard_size: int
    preparation: Preparation
    split: str | None = None
    store: Literal["float16"] | None = None
    owner_file: bool = True
    generation: int | None = None
    generation_given: bool = False

    def members(self, decoders: dict[str, Any]) -> dict[str, Any]:
        """Return the members of a plan that state these settings.

        Args:
            decoders: versions of what decodes pictures.
        """
        prepared = {"prepare": self.preparation.describe(), "decoders": decoders} if self.preparation else {}
        return {
            "shard_size": self.shard_size,
            **prepared,
            **({} if self.split is None else {"split": self.split}),
            **({} if self.store is None else {"store": self.store}),
            **({"owner": OWNER} if self.owner_file else {}),
            **({} if self.generation is None else {"envelope": envelope_member(self.generation)}),
        }


def make_job(
    source: Source,
    pipeline: Pipeline,
    key: Key,
    described: list[dict[str, Any]],
    *,
    settings: PlanSettings,
    skip_unfit: bool,
) -> DisguiseJob:
    """Return the job, after it has disguised the first fitting sample, so that mistakes show at once.

    Args:
        source: plain images.
        pipeline: the disguise.
        key: key that signs the export.
        described: ``pipeline.describe()``, which digests all weights of a model.
        settings: settings of the plan.
        skip_unfit: skip images that cannot be read or do not fit, instead of stopping.

    Raises:
        ExportError: no sample fits, or disguising one twice gives two results.
        SourceError, LabelError, KeySizeError: the first sample does not fit, and samples must not be skipped.
    """
    job = DisguiseJob(
        prepare_source(source, settings.preparation),
        pipeline,
        key.labels if isinstance(key, KeyBundle) else None,
        key.subkey("manifest"),
        key.subkey("id", settings.split),
        noise_key(key.subkey("noise", settings.split), described),
        None if settings.store is None else torch.float16,
        torch.uint8,  # this and the next two are set by the first sample
        None,
        False,
        skip_unfit,
    )
    known = source.known_labels() if hasattr(source, "known_labels") else None
    if known is not None:
        job = replace(
            job, labelled=any(label is not None for label in known), classes=count_classes(source, None, job.labels)
        )
        if not skip_unfit:
            check_labels(job)
    first_error: ProtectError | None = None
    for index in _candidates(job):
        try:
            image, label = job.source[index]
            job = replace(job, dtype=image.dtype)
            if known is None:
                job = replace(job, labelled=label is not None, classes=count_classes(source, label, job.labels))
            job.check_label(label, source.locate(index))
            shape = _require_repeatable(job, index, Sample(image, label))
        except (SourceError, LabelError, KeySizeError) as error:
            if not skip_unfit:
                explain_unfit(job, error)
                raise
            first_error = first_error or error
        else:
            return replace(job, shape=shape if pipeline.needs_one_shape else None)
    raise ExportError(f"no image of the source can be exported; of the first one: {first_error}")


def _candidates(job: DisguiseJob) -> Iterable[int]:
    """Return indices of samples that may determine the shape and dtype of all: the first that fits does.

    If images that do not fit are skipped, one of the most common shape comes first.
    """
    indices = range(len(job.source))
    if not job.skip_unfit or not job.pipeline.needs_one_shape or not hasattr(job.source, "header"):
        return indices
    return itertools.chain(common_shape_first(job.source), indices)


def _require_repeatable(job: DisguiseJob, index: int, sample: Sample) -> Shape:
    """Read and disguise one sample twice, and compare; return the shape of the result."""
    again = job.source[index].image
    identity = job.sample_id(index, sample.image)
    try:
        first, second = (
            job.disguise(image[None], [identity], [sample.label]).images for image in (sample.image, again)
        )
    except KeySizeError as error:
        raise KeySizeError(f"sample {job.source.locate(index)}: {error}") from error
    if job.store is not None and not first.is_floating_point():
        raise InputTypeError(
            "store='float16' (--store float16) rounds floating-point results, such as those of RMTDisguise; this "
            f"transform gives {first.dtype}: leave it out"
        )
    if not torch.equal(first, second):
        raise ExportError("reading and disguising one sample twice gave two results; an export must be repeatable")
    return Shape(*first.shape[1:])


def make_plan(job: DisguiseJob, key: Key, described: list[dict[str, Any]], settings: PlanSettings) -> dict[str, Any]:
    """Return the unsigned plan."""
    listing = hmac.new(key.subkey("manifest"), digestmod="sha256")
    for line in job.source.listing():
        listing.update(len(line).to_bytes(8, "little") + line)
    return {
        "format": documents.PLAN_FORMAT,
        "version": documents.VERSION,
        "torchprotect": __version__,
        "source": listing.hexdigest(),
        "transform": described,
        "plain": {"dtype": str(job.dtype).removeprefix("torch."), "scale": 255 if job.dtype == torch.uint8 else 1},
        "key": key.fingerprint,
        "images": len(job.source),
        **({} if job.classes is None else {"classes": job.classes}),
        **settings.members(getattr(job.source, "decoders", None) or decoder_versions()),
    }


def plan_shards(plan: dict[str, Any], key: Key, part: tuple[int, int] | None = None) -> dict[int, NDArray[np.int64]]:
    """Return the source indices of the samples of each shard, in the order in which they are written.

    Args:
        plan: plan of the export.
        key: that signs it.
        part: index of the part whose shards are wanted, and the number of parts; ``None`` for all shards.
    """
    order, size = keyed_order(key.subkey("order", plan.get("split")), plan["images"]), plan["shard_size"]
    first, step = (0, 1) if part is None else part
    count = -(-len(order) // size)
    return {index: order[index * size : (index + 1) * size] for index in range(first, count, step)}
