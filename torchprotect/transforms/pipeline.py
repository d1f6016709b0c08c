"""Run several steps on batches as one disguise: everything that an export needs to know about a transform."""

from typing import Any

import torch
from torch import Tensor, nn
from torchvision import transforms as v1
from torchvision.transforms import v2

from torchprotect.errors import ExportError
from torchprotect.keys import BlockKey
from torchprotect.transforms._disguise import Disguise, DisguisedBatch, NoiseSource
from torchprotect.transforms.noise import SaltAndPepper

_SEQUENCES = (v2.Compose, v1.Compose, nn.Sequential)  # each step runs on the result of the one before


def leaves(transform: Any) -> list[Any]:
    """Return the innermost transforms of a (nested) composition, in order."""
    parts = _parts(transform)
    if isinstance(transform, Disguise) or not parts:
        return [transform]
    return [leaf for part in parts for leaf in leaves(part)]


def leaves_labels(transform: Any) -> bool:
    """Return whether a disguise in a (nested) composition was made from a bundle whose label map it does not use."""
    return any(isinstance(leaf, Disguise) and leaf.leaves_labels for leaf in leaves(transform))


def _parts(transform: Any) -> list[Any]:
    children = list(transform.children()) if isinstance(transform, nn.Module) else []
    return children or list(getattr(transform, "transforms", []))  # compositions of torchvision keep a plain list


class Pipeline:
    """The steps of a transform, run one after another on batches.

    Args:
        transform: a disguise, or a composition of disguises and other steps; compositions may be nested.

    Attributes:
        steps: the steps in order, with disguises prepared for batches.
        disguises: the steps that are disguises.

    Raises:
        ExportError: a module other than a composition holds a disguise. Only that module could run it, and it would
            pass on neither labels nor keyed noise.
    """

    def __init__(self, transform: Any) -> None:
        self.steps = tuple(_for_batches(step) for step in _in_sequence(transform))
        self.disguises = tuple(step for step in self.steps if isinstance(step, Disguise))

    def __repr__(self) -> str:
        return f"Pipeline({', '.join(map(repr, self.steps))})"

    @property
    def keyed(self) -> list[Disguise]:
        """The disguises that have a key; without one, nothing is protected."""
        return [disguise for disguise in self.disguises if disguise.key is not None]

    @property
    def size_keys(self) -> list[BlockKey]:
        """The keys whose image size plain images must have; none if a step may resize the images."""
        if len(self.disguises) < len(self.steps):
            return []
        return [disguise.key for disguise in self.disguises if isinstance(disguise.key, BlockKey)]

    @property
    def needs_one_shape(self) -> bool:
        """Whether all images must come out in one shape: images disguised in blocks are not resized afterwards."""
        return any(isinstance(disguise.key, BlockKey) for disguise in self.disguises)

    @property
    def max_batch(self) -> int | None:
        """Largest number of images that one call of ``disguise_batch`` accepts; ``None`` if there is no limit."""
        return min((limit for disguise in self.disguises if (limit := disguise.max_batch) is not None), default=None)

    @property
    def needs_labels(self) -> bool:
        """Whether ``disguise_batch`` needs the class of each image."""
        return any(disguise.needs_labels for disguise in self.disguises)

    @property
    def uses_gradients(self) -> bool:
        """Whether gradients are computed; deterministic algorithms must then be requested."""
        return any(disguise.uses_gradients for disguise in self.disguises)

    @property
    def devices(self) -> set[torch.device]:
        """The devices that steps are bound to; empty if all compute wherever the images are."""
        return {device for disguise in self.disguises if (device := disguise.device) is not None}

    def describe(self) -> list[dict[str, Any]]:
        """Return the name and the public parameters of each step, as they are written to a plan.

        Raises:
            ExportError: the ``repr`` of a step differs from run to run.
        """
        return [_describe(leaf) for step in self.steps for leaf in leaves(step)]

    def check_label(self, label: int | tuple[int, ...] | None, where: str) -> None:
        """Check that every disguise can take an image of this class.

        Raises:
            LabelError: one cannot; the message contains ``where``, the location of the sample.
        """
        for disguise in self.disguises:
            disguise.check_label(label, where)

    def note_on(self, images: Any) -> str | None:
        """Return advice for the owner of such images, in whole sentences, or ``None``.

        Args:
            images: some of the images, ``[C, H, W]``, all of one shape; each is read only when it is iterated over.
        """
        others = [step for step in self.steps if not isinstance(step, SaltAndPepper)]
        return others[0].note_on(images) if len(others) == 1 and isinstance(others[0], Disguise) else None

    def disguise_batch(self, images: Tensor, labels: Tensor | None, *, noise: NoiseSource) -> DisguisedBatch:
        """Run all steps on a batch.

        Args:
            images: ``[N, C, H, W]``.
            labels: class numbers, int64 ``[N]``; required if ``needs_labels``.
            noise: source of all noise; the disguises draw from it one after another.

        Returns:
            The images after the last step. Distances are those of the last perturbation, between its input and its
            result; ``None`` if there is no perturbation.
        """
        distances: Tensor | None = None
        for step in self.steps:
            if isinstance(step, Disguise):
                batch = step.disguise_batch(images, labels, noise=noise)
                images, distances = batch.images, distances if batch.distances is None else batch.distances
            else:
                images = step(images)
        return DisguisedBatch(images, distances)

    def undo_batch(self, images: Tensor, *, noise: NoiseSource, scale: int) -> Tensor:
        """Undo all steps on a batch.

        Args:
            images: as :meth:`disguise_batch` returned them.
            noise: the same source of noise as in that call, from its start.
            scale: value of white in plain pixels: 255 for uint8, 1 for floating point.

        Raises:
            NotInvertibleError: a step cannot be undone.
        """
        drawn = [step.draw(tuple(images.shape), noise) for step in self.disguises]
        for disguise, params in reversed(list(zip(self.disguises, drawn, strict=True))):
            images = disguise.undo(images, params, scale=scale)
        return images


def _in_sequence(transform: Any) -> list[Any]:
    if type(transform) in _SEQUENCES and (parts := getattr(transform, "transforms", transform)):
        return [step for part in parts for step in _in_sequence(part)]
    if not isinstance(transform, Disguise) and any(isinstance(leaf, Disguise) for leaf in leaves(transform)):
        raise ExportError(
            f"{type(transform).__name__} holds a disguise, which could get neither labels nor keyed noise there; put "
            "the disguise and the other steps into a v2.Compose"
        )
    return [transform]


def _for_batches(step: Any) -> Any:
    return step.for_batches() if isinstance(step, Disguise) else step


def _describe(step: Any) -> dict[str, Any]:
    if isinstance(step, Disguise):
        return step.describe()
    if " at 0x" in repr(step):
        raise ExportError(f"{type(step).__name__} needs a repr that is the same in every run; define __repr__")
    return {"name": repr(step)}
