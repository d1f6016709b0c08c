"""Utility: accuracies of networks trained on disguised images, compared with plain ones."""

from dataclasses import asdict, dataclass
from statistics import fmean, stdev
from typing import Any

PLAIN_TRAINING, DISGUISED_TRAINING = "plain training", "disguised training"
"""Prefixes of the names of trainings; a number follows."""


@dataclass(frozen=True)
class Utility:
    """Accuracies on held-out images, one for each training.

    Attributes:
        plain: trained and tested on plain images.
        disguised: trained and tested on disguised images, with the labels as written.
        crossed: trained on disguised images, tested on plain ones: what the release teaches about natural images.
        chance: share of the most frequent class in the disguised test images.
        trained: number of training images of each network, equal for plain and disguised ones.
        tested: number of disguised test images.
        epochs: passes over the training images; ``None`` in reports of earlier versions.
    """

    plain: tuple[float, ...]
    disguised: tuple[float, ...]
    crossed: tuple[float, ...]
    chance: float | None
    trained: int
    tested: int
    epochs: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, means and standard deviations for JSON."""
        kinds = ("plain", "disguised", "crossed")
        return {**asdict(self), "summary": {kind: mean_and_deviation(getattr(self, kind)) for kind in kinds}}

    @classmethod
    def from_dict(cls, fields: dict[str, Any]) -> "Utility":
        """Rebuild it from :meth:`to_dict`."""
        plain, disguised, crossed = (tuple(fields[kind]) for kind in ("plain", "disguised", "crossed"))
        return cls(
            plain, disguised, crossed, fields["chance"], fields["trained"], fields["tested"], fields.get("epochs")
        )


def mean_and_deviation(values: tuple[float, ...]) -> dict[str, float] | None:
    """Return mean and standard deviation; ``None`` for no values."""
    if not values:
        return None
    return {"mean": fmean(values), "sd": stdev(values) if len(values) > 1 else 0.0, "n": len(values)}
