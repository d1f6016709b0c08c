"""Find what an export reveals apart from its pixels."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torchprotect.attacks.disguise._folder import Folder
from torchprotect.attacks.disguise._metadata_checks import CHECKS
from torchprotect.attacks.disguise._metadata_seen import Listing
from torchprotect.attacks.disguise.metadata_finding import MetadataFinding, Severity
from torchprotect.attacks.protocol import Attack, Files, Need, Seen
from torchprotect.attacks.results import AttackResult, Level, facts_of
from torchprotect.attacks.scores import NOTHING


@dataclass(frozen=True, eq=False, repr=False)
class MetadataResult(AttackResult):
    """What the files of an export reveal apart from pixels.

    Attributes:
        findings: one for each topic, even if nothing was found.
        samples: number of images.
        classes: number of distinct class numbers or class folders; 0 if there are none.
    """

    findings: tuple[MetadataFinding, ...]
    samples: int
    classes: int

    @property
    def worst(self) -> Severity:
        """The highest severity of all findings."""
        order: tuple[Severity, ...] = ("none", "low", "medium", "high")
        return max((finding.severity for finding in self.findings), key=order.index)

    def to_json(self) -> str:
        """Return the fields as JSON, each finding an object."""
        told = {name: getattr(self, name) for name in ("cost", "samples", "classes", "worst")}
        findings = [dataclasses.asdict(finding) for finding in self.findings]
        return json.dumps({"level": self.level.value, **told, "findings": findings})


def metadata_scan(folder: str | Path | Files) -> MetadataResult:
    """Inspect everything in an export except the pixels: an attacker with the export only (level L0).

    The scan looks at names, order, sizes, times, owners, modes, metadata inside image files, classes and their balance,
    documents, and files that do not belong there. It takes exports, and other folders of uncompressed tar archives or
    image files. Archives are not unpacked, and links are not followed. Findings hold counts, never names.

    Cost: ``files`` and ``members`` examined; image files are not decoded, only their headers are read.

    Args:
        folder: folder of the export; for an export at a URL, its files by name, each with a function that opens it for
            reading.

    Raises:
        SourceError: there is no such folder, or it cannot be read.
    """
    source, seen = Folder(folder if isinstance(folder, Mapping) else Path(folder)), Listing()
    for entry in source.entries():
        seen.add(entry)
    seen.unread += source.unread
    findings = tuple(check(seen) for check in CHECKS)
    cost = {"files": source.files, "members": seen.members}
    return MetadataResult(Level.CIPHERTEXT_ONLY, cost, findings, seen.images, len(seen.classes))


def _run(seen: Seen) -> MetadataResult:
    return metadata_scan(seen.need(Need.FOLDER))


METADATA = Attack(
    name="metadata_scan",
    title="Metadata",
    about="inspects names, order, sizes, times and all other metadata of an export",
    finds="metadata",
    level=Level.CIPHERTEXT_ONLY,
    run=_run,
    score=NOTHING,
    needs=frozenset({Need.FOLDER}),
    facts=facts_of,
)
