"""The report of an audit, as JSON and as a page."""

import json
import os
from pathlib import Path
from typing import Any

from torchprotect._files import atomic_file, read_regular
from torchprotect._json import parse
from torchprotect.attacks import Level
from torchprotect.audit.report.finding import Finding, NotRun
from torchprotect.audit.report.outcome import Outcome
from torchprotect.audit.report.page import render, require_page_tools
from torchprotect.audit.report.statement import MEANING, STATEMENT
from torchprotect.audit.report.utility import Utility
from torchprotect.audit.report.verdict import Verdict, judge
from torchprotect.errors import VerificationError

FORMAT, VERSION = "torchprotect-audit", 2
LARGEST = 1 << 28  # bytes of a report
_OWNER_ONLY = 0o600  # a page may show plain images


class Report(Outcome):
    """The result of an audit, as a verdict, an HTML page and JSON.

    Attributes:
        findings: one for each attack that ran.
        not_run: all other attacks, with the reasons.
        utility: accuracies of trained networks; ``None`` if there were no labels.
        facts: ``data``, ``disguise``, ``environment``, ``settings``, ``split``, ``started`` and ``seconds``.
    """

    @property
    def verdict(self) -> Verdict:
        """Conclusion from the findings, in sentences."""
        return judge(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the report for JSON: no pixels, no key material."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "verdict": self.verdict.to_dict(),
            **self.facts,
            "levels": {
                level.value: {"leakage": self.leakage(level), "measured": self.measured(level)} for level in Level
            },
            "utility": None if self.utility is None else self.utility.to_dict(),
            "findings": [each.to_dict() for each in self.findings],
            "not_run": [each.to_dict() for each in self.not_run],
            "meaning": MEANING,
            "statement": STATEMENT,
        }

    def to_json(self) -> str:
        """Return the report as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False, ensure_ascii=False)

    def write_json(self, path: str | os.PathLike[str]) -> None:
        """Write the JSON atomically, readable by its owner only."""
        _write(Path(path), self.to_json() + "\n")

    def write_html(self, path: str | os.PathLike[str]) -> None:
        """Write the page atomically, readable by its owner only, because it may show plain images.

        Raises:
            ExportError: the extra ``audit`` is missing.
        """
        require_page_tools()
        _write(Path(path), render(self, self.verdict))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Report":
        """Read a report from its JSON, without pictures.

        Raises:
            VerificationError: it is not a report of this version.
        """
        try:
            document = parse(read_regular(Path(path), LARGEST, VerificationError))
            if document["format"] != FORMAT or document["version"] != VERSION:
                raise VerificationError(f"{path} is not an audit report of version {VERSION}; run the audit again")
            names = ("data", "disguise", "environment", "settings", "split", "started", "seconds")
            return cls(
                tuple(map(Finding.from_dict, document["findings"])),
                tuple(NotRun.from_dict(each) for each in document["not_run"]),
                None if document["utility"] is None else Utility.from_dict(document["utility"]),
                {name: document[name] for name in names},
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise VerificationError(f"{path} is not an audit report, or it is damaged") from error


def _write(path: Path, text: str) -> None:
    with atomic_file(path, mode=_OWNER_ONLY) as file:
        file.write(text.encode())
