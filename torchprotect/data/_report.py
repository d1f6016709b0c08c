"""Reports of finished shards, and the journal that keeps them while an export runs."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torchprotect._files import open_regular
from torchprotect._json import canonical, parse
from torchprotect.data.manifest import JOURNAL, JOURNAL_FORMAT, is_signed, shard_name, signed


@dataclass(frozen=True)
class ShardReport:
    """Content and origin of a finished shard.

    Attributes:
        index: number of the shard.
        count: samples in it.
        size: bytes.
        sha256: hex digest of the file.
        labels: distinct class numbers in it, as written.
        skipped: source indices of images left out, since they could not be read or did not fit.
        inputs: keyed digest of what the shard was made from; empty if the report was rebuilt from
            the manifest, which keeps no record of the input.
        max_distance: largest L2 distance in pixel units (0..1) of an image to its plain one, as written; of
            perturbations only.
        mean_distance: mean of these distances.
    """

    index: int
    count: int
    size: int
    sha256: str
    labels: list[int]
    skipped: list[int]
    inputs: str
    max_distance: float | None = None
    mean_distance: float | None = None

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_name(self.index)

    @property
    def is_from_manifest(self) -> bool:
        """Whether nothing is known of the shard's input, its labels and the images left out."""
        return not self.inputs

    @property
    def entry(self) -> dict[str, Any]:
        """The shard's entry in the manifest."""
        entry = {"name": self.name, "count": self.count, "size": self.size, "sha256": self.sha256}
        return entry | distance_member(self.max_distance, self.mean_distance)

    @classmethod
    def from_entry(cls, index: int, entry: dict[str, Any]) -> "ShardReport":
        """Rebuild what the manifest keeps of a report."""
        distance = entry.get("distance", {})
        written = entry["count"], entry["size"], entry["sha256"]
        return cls(index, *written, [], [], "", distance.get("max"), distance.get("mean"))


def overall_distance(reports: Iterable[ShardReport]) -> tuple[float, float] | tuple[None, None]:
    """Return the largest and the mean distance of all images, if there are any."""
    known = [(r.max_distance, r.mean_distance, r.count) for r in sorted(reports, key=lambda report: report.index)]
    measured = [(most, mean, count) for most, mean, count in known if most is not None and mean is not None]
    if not measured:
        return None, None
    total = sum(mean * count for _, mean, count in measured)
    return max(most for most, _, _ in measured), total / sum(count for _, _, count in measured)


def distance_member(most: float | None, mean: float | None) -> dict[str, Any]:
    """Return the manifest's member with the largest and the mean distance; none where nothing was measured."""
    return {} if most is None else {"distance": {"max": most, "mean": mean}}


class Journal:
    """Reports of finished shards while an export runs, one line each. Removed at the end.

    It is not flushed to disk: if a power cut takes a line, its shard is made again.
    """

    def __init__(self, folder: Path, subkey: bytes, plan: str) -> None:
        self._path, self._subkey, self._plan = folder / JOURNAL, subkey, plan

    def read(self) -> dict[int, ShardReport]:
        """Return the reports that are whole and signed; a line torn by a crash is skipped."""
        if not self._path.exists():
            return {}
        with open_regular(self._path) as file:
            return {report.index: report for line in file if (report := self._report(line)) is not None}

    def _report(self, line: bytes) -> ShardReport | None:
        try:
            document = parse(line)
        except ValueError:
            return None
        if not isinstance(document, dict) or not is_signed(document, self._subkey) or document["plan"] != self._plan:
            return None
        fields = {name: value for name, value in document.items() if name not in ("format", "plan", "hmac")}
        return ShardReport(**fields)

    def append(self, report: ShardReport) -> None:
        """Add one report. A leading line break ends a line that a crash may have torn."""
        fields = {name: value for name, value in asdict(report).items() if value is not None}
        document = signed({"format": JOURNAL_FORMAT, "plan": self._plan, **fields}, self._subkey)
        with self._path.open("ab") as file:
            file.write(b"\n" + canonical(document) + b"\n")

    def remove(self) -> None:
        """Delete the journal."""
        self._path.unlink(missing_ok=True)
