"""Direct re-identification: classifies disguised images with a network trained on plain ones."""

import torch
from torch import Tensor

from torchprotect.attacks._inputs import require_images, require_plain, require_same_size
from torchprotect.attacks.disguise.examiner import DNNExaminer
from torchprotect.attacks.images import white_of
from torchprotect.attacks.protocol import Attack, Need, Seen
from torchprotect.attacks.results import ClassGuesses, Level
from torchprotect.attacks.scores import CLASSES


def direct_reidentification(
    public: Tensor,
    labels: Tensor,
    disguised: Tensor,
    *,
    classes: int,
    scale: int | None = None,
    epochs: int = 10,
    examiner: DNNExaminer | None = None,
    generator: torch.Generator | None = None,
) -> ClassGuesses:
    """Classify disguised images with a classifier of plain ones: an attacker with public data (level L1).

    Cost: as for :meth:`DNNExaminer.predict`.

    Args:
        public: plain images of the same kind, uint8 or floating point in 0..1, ``[N, C, H, W]``.
        labels: int64 ``[N]``.
        disguised: ``[M, C, H, W]``, uint8 or floating point.
        classes: number of classes.
        scale: value of white in floating-point disguised images, 255 or 1; that of the public images when ``None``.
        epochs: passes over the public images.
        examiner: an examiner already trained on public images; ``None`` trains one.
        generator: on the CPU; seeds the training.

    Raises:
        InputTypeError, InputShapeError, InputRangeError, LabelError: as for :class:`DNNExaminer`.

    References:
        Sharma, Alam, Chen: Image Disguising for Protecting Data and Model Confidentiality in Outsourced Deep Learning,
        section V-B.
    """
    require_plain("public images", public)
    require_images("disguised images", disguised)
    require_same_size("public images", public, "disguised images", disguised)
    if examiner is None:
        untrained = DNNExaminer(classes, (public.shape[-2], public.shape[-1]), public.shape[1])
        examiner = untrained.fit(public, labels, epochs=epochs, generator=generator)
    return examiner.predict(disguised, scale=scale)


def _run(seen: Seen) -> ClassGuesses:
    public = seen.need(Need.PUBLIC)
    return direct_reidentification(
        public,
        seen.need(Need.LABELS),
        seen.disguised,
        classes=max(2, seen.classes),
        scale=white_of(seen.scheme, public, seen.disguised) if seen.disguised.is_floating_point() else None,
        examiner=seen.examiner,
        generator=seen.generator,
    )


DIRECT = Attack(
    name="direct_reidentification",
    title="Direct re-identification",
    about="classifies disguised images with a network trained on plain ones",
    finds="class",
    level=Level.PUBLIC_DATA,
    run=_run,
    score=CLASSES,
    needs=frozenset({Need.PUBLIC, Need.LABELS}),
)
