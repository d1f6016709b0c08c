"""What a metadata scan says of one topic."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["none", "low", "medium", "high"]


@dataclass(frozen=True)
class MetadataFinding:
    """One thing that was looked for.

    Attributes:
        topic: one word.
        severity: ``"none"``; ``"low"``: told to everybody, but of little use alone; ``"medium"``: helps to link or
            to sort samples; ``"high"``: tells about single images, or gives a key away.
        count: how many members, files or values it is about.
        text: a sentence; names nothing that was found.
    """

    topic: str
    severity: Severity
    count: int
    text: str
