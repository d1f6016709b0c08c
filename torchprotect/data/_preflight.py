"""Checks and notes before the first shard of an export is made, without decoding every image."""

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from torchprotect.data._job import DisguiseJob
from torchprotect.data._labels import numbers_in
from torchprotect.data.preparation import Preparation, Shape
from torchprotect.data.sources import Label, class_names_of, read_samples, unprepared
from torchprotect.errors import KeySizeError, LabelError, ProtectError, SourceError
from torchprotect.keys import BlockKey, RMTKey

_MOST_IMAGES = 300
_NAMES_SHOWN = 4  # of classes
_SHAPES_SHOWN = 3  # besides the most common one
_FEWEST_IMAGES = 16
_MOST_PIXELS = 1 << 27  # of all of them as they are stored: about a second of decoding
_MOST_BYTES = 1 << 27  # of all of them in memory


def check_labels(job: DisguiseJob) -> None:
    """Check the labels that the source knows in advance, with one sample for each distinct label.

    Raises:
        LabelError: some cannot be written; the message says how many, and the location of one sample.
    """
    known: list[Label] = job.source.known_labels() if hasattr(job.source, "known_labels") else []
    first, counts, total = dict[Label, int](), Counter(known), len(known)
    for index, label in enumerate(known):
        first.setdefault(label, index)
    if job.labelled and (missing := counts[None]):
        raise LabelError(
            f"{missing:,} of {total:,} images {'has' if missing == 1 else 'have'} no label, such as "
            f"{job.source.locate(first[None])}; label all of them or none, or skip those without (--on-error skip)"
        )
    wrong, example = 0, None
    for label, index in first.items():
        try:
            job.check_label(label, job.source.locate(index))
        except LabelError as error:
            wrong, example = wrong + counts[label], example or error
    if example is not None:
        raise LabelError(f"{wrong:,} of {total:,} images have labels that do not fit: {example}") from example


def check_shapes(job: DisguiseJob, shards: list[Any]) -> str | None:
    """Check the shapes of the remaining images from their headers, and return a note on them.

    Raises:
        KeySizeError: an image does not fit the key.
        SourceError: there are images of several shapes, a header cannot be read, or a picture would be refused.
    """
    if not hasattr(job.source, "header"):
        return None
    survey = Survey(job.source, [index for indices in shards for index in indices.tolist()])
    if job.shape is not None and len(job.pipeline.disguises) == len(job.pipeline.steps):
        _require_one_shape(job, survey)
    elif job.shape is not None:  # a step may change shapes: only trying it shows the result
        _require_one_result(job, survey)
    return survey.note_on_orientation()


class Survey:
    """Shapes of the images of a source, from their headers.

    Args:
        source: that has ``header``.
        indices: indices of the images.

    Attributes:
        counts: number of images of each shape.
        first: index of the first image of each shape.
        turned: number of images whose EXIF orientation is ignored.
    """

    def __init__(self, source: Any, indices: Iterable[int]) -> None:
        self.counts, self.first, self.turned = Counter[Shape](), dict[Shape, int](), 0
        for index in indices:
            shape, turned = source.header(index)
            shape = Shape(*shape)
            self.counts[shape] += 1
            self.first.setdefault(shape, index)
            self.turned += turned

    def __str__(self) -> str:
        (shape, most), *others = self.counts.most_common()
        if not others:
            return f"all {most:,} images are {shape}"
        few = others if len(others) <= _SHAPES_SHOWN else others[: _SHAPES_SHOWN - 1]
        told = [f"{count:,} {'is' if count == 1 else 'are'} {shape}" for shape, count in few]
        if rest := others[len(few) :]:
            told.append(f"{sum(count for _, count in rest):,} have one of {len(rest):,} other shapes")
        return f"{most:,} {'image is' if most == 1 else 'images are'} {shape}, {', '.join(told)}"

    def note_on_orientation(self) -> str | None:
        """Return a note that pictures will appear sideways."""
        if not self.turned:
            return None
        return (
            f"{self.turned:,} of {self.counts.total():,} images have an EXIF orientation, which is ignored: their "
            "pixels are taken as they are stored, turned or mirrored; --exif applies it"
        )


def _require_one_shape(job: DisguiseJob, survey: Survey) -> None:
    keys = job.pipeline.size_keys
    for shape, index in survey.first.items():
        for key in keys:
            try:
                key.require_fit(torch.empty(shape, device="meta"))
            except KeySizeError as error:
                where = job.source.locate(index)
                raise KeySizeError(f"sample {where}: {error}. {_how_to_prepare(job, survey, keys)}") from error
    if len(survey.counts) > 1:
        odd = job.source.locate(survey.first[survey.counts.most_common()[-1][0]])
        raise SourceError(
            f"a data set has one shape, but {odd} has another than most. {_how_to_prepare(job, survey, keys)}"
        )


def common_shape_first(source: Any) -> list[int]:
    """Return the first index of each shape, the most common one first, as far as headers can be read."""
    counts, first = Counter[Shape](), dict[Shape, int]()
    for index in range(len(source)):
        with contextlib.suppress(SourceError):
            shape = Shape(*source.header(index).shape)
            counts[shape] += 1
            first.setdefault(shape, index)
    return [first[shape] for shape, _ in counts.most_common()]


def explain_unfit(job: DisguiseJob, error: ProtectError) -> None:
    """Raise the error of an image that does not fit the key again, with facts about all other images."""
    if isinstance(error, KeySizeError) and hasattr(job.source, "header") and job.pipeline.size_keys:
        survey = Survey(job.source, range(len(job.source)))
        raise KeySizeError(f"{error}. {_how_to_prepare(job, survey, job.pipeline.size_keys)}") from error


def _how_to_prepare(job: DisguiseJob, survey: Survey, keys: list[BlockKey]) -> str:
    """Return the existing shapes, and the options that would give all images one shape."""
    channels = {shape.channels for shape in survey.counts}
    sizes = {(shape.height, shape.width) for shape in survey.counts}
    wanted = {count for key in keys if (count := getattr(key, "channels", None)) is not None} or {max(channels)}
    size = keys[0].image_size if keys else max(sizes)
    options = ["--exif"] if survey.turned else []
    if channels != wanted:
        options.append("--mode grey" if wanted == {1} else "--mode rgb")
    if sizes != {size}:
        options.append(f"--resize {size[0]}x{size[1]}{_current_size_options(job)}")
    told = str(survey)
    return f"{told[0].upper()}{told[1:]}: add {' '.join(options)} (in Python, prepare=data.Preparation(..))"


def _current_size_options(job: DisguiseJob) -> str:
    """Return the options that currently determine the size, if any were given."""
    given = getattr(job.source, "preparation", Preparation()).describe()
    sizes = [f"--{name}" for name in ("resize", "crop", "pad") if name in given]
    return f" in place of {' and '.join(sizes)}" if sizes else ""


def _require_one_result(job: DisguiseJob, survey: Survey) -> None:
    """Disguise one image of each number of channels, and compare the shapes of the results."""
    first: dict[int, int] = {}
    for shape, index in survey.first.items():
        first.setdefault(shape.channels, index)
    results = {channels: _disguised_shape(job, index) for channels, index in first.items()}
    if len(set(results.values())) > 1:
        count = Counter[int]()
        for shape, number in survey.counts.items():
            count[shape.channels] += number
        told = ", ".join(f"{n:,} with {channels} become {results[channels]}" for channels, n in count.most_common())
        raise SourceError(
            f"images of several numbers of channels would be exported in several shapes: {told}; add --mode rgb or "
            "--mode grey (in Python, prepare=data.Preparation(mode=..))"
        )


def _disguised_shape(job: DisguiseJob, index: int) -> Shape:
    image, label = job.source[index]
    return Shape(*job.disguise(image[None], [job.sample_id(index, image)], [label]).images.shape[1:])


def make_notes(job: DisguiseJob, *, key_given: bool, is_part: bool) -> tuple[str, ...]:
    """Return notes for the owner of the images, in whole sentences; notes on a part require no reading of images."""
    found = (
        _note_left_out(job),
        None if key_given else _note_plain_labels(job),
        _note_labels(job),
        _note_rounding(job),
        None if is_part else job.pipeline.note_on(_sample_images(job)),
    )
    return tuple(note for note in found if note is not None)


def _note_left_out(job: DisguiseJob) -> str | None:
    left_out = job.source.left_out
    return (
        f"left out of the source: {', '.join(f'{n:,} x {what}' for what, n in left_out.items())}" if left_out else None
    )


def _note_plain_labels(job: DisguiseJob) -> str | None:
    """Note that labels stay plain: a transform does not know the label map of its bundle."""
    if not job.labelled:
        return None
    return "no key was given, so class numbers are written as they are; to rename them give the bundle as key="


def _note_rounding(job: DisguiseJob) -> str | None:
    """Note that rounded results of ill-conditioned matrices cannot be inverted well."""
    kinds = sorted({str(key.matrix) for key in job.pipeline.size_keys if isinstance(key, RMTKey)} - {"orthogonal"})
    if job.store is None or not kinds:
        return None
    return (
        f"results of {kinds[0]} matrices are rounded to float16: a network does not notice, but many pixels will be "
        "wrong when the pictures are restored. Keep the originals, or store float32"
    )


def _note_labels(job: DisguiseJob) -> str | None:
    if not hasattr(job.source, "known_labels"):
        return None
    used = len({number for label in job.source.known_labels() for number in numbers_in(label)})
    return note_classes(job, max(used, len(class_names_of(job.source) or ())) if used else 0)


def note_classes(job: DisguiseJob, used: int) -> str | None:
    """Note that the key renames another number of classes than there are, and how these are numbered."""
    if job.labels is None or used == job.labels.classes:
        return None
    names = class_names_of(job.source)
    few = f"{', '.join(f'{number} {name}' for number, name in enumerate(names[:_NAMES_SHOWN]))}" if names else ""
    numbered = f". They were numbered {few}{', ..' if names and len(names) > _NAMES_SHOWN else ''}" if few else ""
    hint = "; if another export under this key has other classes, --classes-of takes its numbers" if few else ""
    return (
        f"the key renames {job.labels.classes} classes, the source has {used}: a model trained on the export needs "
        f"{job.labels.classes} outputs{numbered}{hint}"
    )


def _sample_images(job: DisguiseJob) -> Iterator[Tensor]:
    """Yield evenly spaced 8-bit images of the source that have the size of the first of them."""
    total, shape, size = len(job.source), None, 0
    count = min(_sample_count(job.source), total)
    for sample in read_samples(job.source, [position * total // count for position in range(count)]):
        if isinstance(sample, SourceError):
            continue
        image = sample.image
        if image.dtype == torch.uint8 and shape in (None, image.shape):
            yield image
            shape, size = image.shape, size + image.nbytes
        if size > _MOST_BYTES:
            return


def _sample_count(source: Any) -> int:
    """Return how many images to examine: fewer if stored images are large and slow to decode."""
    stored: Any = unprepared(source)
    if not hasattr(stored, "header"):
        return _MOST_IMAGES
    try:
        shape = Shape(*stored.header(0)[0])
    except SourceError:
        return _FEWEST_IMAGES
    return max(_FEWEST_IMAGES, min(_MOST_IMAGES, _MOST_PIXELS // max(1, shape.height * shape.width)))
