"""The result of a metadata scan for one topic."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["none", "low", "medium", "high"]


@dataclass(frozen=True)
class MetadataFinding:
    """The result for one topic of :func:`metadata_scan`.

    Attributes:
        topic: one word.
        severity: ``"none"``; ``"low"``: visible to everybody, but of little use alone; ``"medium"``: helps to link or
            sort samples; ``"high"``: reveals something about single images, or gives a key away.
        count: number of members, files or values concerned.
        text: a sentence; it does not quote what was found.
    """

    topic: str
    severity: Severity
    count: int
    text: str
