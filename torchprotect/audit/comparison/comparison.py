"""The comparison: settings side by side, as advice, a page and JSON."""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torchprotect._files import atomic_file, read_regular
from torchprotect._json import parse
from torchprotect.attacks import Level
from torchprotect.audit.comparison.advice import Advice, advise
from torchprotect.audit.comparison.compared import LEVELS, Compared, Share
from torchprotect.audit.comparison.page import render
from torchprotect.audit.report.page import require_page_tools
from torchprotect.audit.report.statement import MEANING, STATEMENT
from torchprotect.errors import VerificationError

FORMAT, VERSION = "torchprotect-comparison", 1
_LARGEST = 1 << 28  # bytes of a comparison
_OWNER_ONLY = 0o600  # it tells accuracies and base rates of images that are not released
_FACTS = (
    *("started", "seconds", "cpu_seconds", "environment", "effort", "data", "split", "trained", "probe"),
    *("skipped", "not_compared"),
)


@dataclass(frozen=True)
class Comparison:
    """Results of :func:`compare` for each setting.

    Attributes:
        settings: the results of each setting, in the given order.
        plain: accuracy of the small network on plain images.
        plain_probe: accuracy of the linear classifier on a pretrained network's features; ``None`` if none is
            installed.
        chance: accuracy of always guessing the most frequent class.
        facts: ``started``, ``seconds``, ``cpu_seconds``, ``environment``, ``effort``, ``data``, ``split``; ``trained``
            and ``probe``, of the networks; ``skipped`` and ``not_compared``, each with the reason.
    """

    settings: tuple[Compared, ...]
    plain: Share
    plain_probe: Share | None
    chance: float
    facts: dict[str, Any] = field(default_factory=dict)

    def kept(self, compared: Compared) -> Share:
        """Return the accuracy of the small network divided by its accuracy on plain images; it may exceed 1.

        Guessing is not subtracted: see :attr:`kept_by_guessing`. The result is 0 if the network gets no plain image
        right, because there is nothing to keep.
        """
        if not self.plain.value:
            return Share(0.0, 0.0, 0.0)
        return Share(*(each / self.plain.value for each in compared.accuracy))

    @property
    def kept_by_guessing(self) -> float:
        """The value of :meth:`kept` for always guessing the most frequent class."""
        return self.chance / self.plain.value if self.plain.value else 0.0

    def frontier(self, level: Level | str) -> tuple[int, ...]:
        """Return the indices of the settings that no other setting beats at a level.

        One setting beats another if it keeps no less and leaks no more, and the two are not equal in both. Settings
        that keep and leak the same are therefore all included. Settings without measurements are not.
        """
        found = {
            index: (each.accuracy.value, leakage)
            for index, each in enumerate(self.settings)
            if (leakage := each.leakage(Level(level))) is not None
        }
        return tuple(mine for mine in found if not any(_beats(found[other], found[mine]) for other in found))

    @property
    def advice(self) -> tuple[Advice, ...]:
        """One sentence for each question."""
        return advise(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the comparison for JSON: no pixels, no key material."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "advice": [each.to_dict() for each in self.advice],
            **self.facts,
            "plain": list(self.plain),
            "plain_probe": None if self.plain_probe is None else list(self.plain_probe),
            "chance": self.chance,
            "settings": [each.to_dict() for each in self.settings],
            "frontier": {level.value: list(self.frontier(level)) for level in LEVELS},
            "meaning": MEANING,
            "statement": STATEMENT,
        }

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON atomically, readable by its owner only."""
        _write(path, json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False) + "\n")

    def write_html(self, path: str | os.PathLike[str]) -> None:
        """Write the page atomically, readable by its owner only.

        Raises:
            ExportError: the extra ``audit`` is missing.
        """
        require_page_tools()
        _write(path, render(self))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Comparison":
        """Read a comparison from its JSON.

        Raises:
            VerificationError: it is not a comparison of this version.
        """
        try:
            document = parse(read_regular(Path(path), _LARGEST, VerificationError))
            if document["format"] != FORMAT or document["version"] != VERSION:
                raise VerificationError(f"{path} is not a comparison of version {VERSION}; run the comparison again")
            return cls(
                tuple(map(Compared.from_dict, document["settings"])),
                Share(*document["plain"]),
                None if document["plain_probe"] is None else Share(*document["plain_probe"]),
                document["chance"],
                {name: document[name] for name in _FACTS},
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise VerificationError(f"{path} is not a comparison, or it is damaged") from error


def _beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
    """Return whether accuracy and leakage of one are nowhere worse than those of another, and somewhere better."""
    return one[0] >= other[0] and one[1] <= other[1] and one != other


def _write(path: str | os.PathLike[str], text: str) -> None:
    with atomic_file(Path(path), mode=_OWNER_ONLY) as file:
        file.write(text.encode())
