"""Reports of finished shards, and the files that keep them while an export runs."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from typing import Any

from torchprotect._json import canonical, parse
from torchprotect.data.manifest import REPORT_FORMAT, is_signed, report_name, shard_name, signed
from torchprotect.data.store import SUFFIX, Store
from torchprotect.envelope.streaming import sealed_size


@dataclass(frozen=True)
class ShardReport:
    """Content and origin of a finished shard.

    Attributes:
        index: index of the shard.
        count: number of samples in it.
        size: number of bytes.
        sha256: hex digest of the file.
        labels: distinct class numbers in it, as written.
        skipped: source indices of images left out because they could not be read or did not fit.
        inputs: keyed digest of the shard's input; empty if the report was rebuilt from the manifest, which keeps no
            record of the input.
        max_distance: largest L2 distance in pixel units (0..1) of an image to its plain version, as written; for
            perturbations only.
        mean_distance: mean of these distances.
        ids: ids of the samples in it, 32 hex digits each, joined; empty if the report was rebuilt from the manifest.
        sealed: SHA-256 in hex of the sealed file; ``None`` in an open export.
        tag: tag of the shard in its store, as the write returned it; ``None`` if there is none, or if another machine
            may make other bytes.
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
    ids: str = ""
    sealed: str | None = None
    tag: str | None = None

    @property
    def name(self) -> str:
        """File name of the shard."""
        return shard_name(self.index)

    @property
    def is_from_manifest(self) -> bool:
        """Whether the shard's input, its labels and the skipped images are unknown."""
        return not self.inputs

    @property
    def entry(self) -> dict[str, Any]:
        """The shard's entry in the manifest."""
        entry = {"name": self.name, "count": self.count, "size": self.size, "sha256": self.sha256}
        return entry | distance_member(self.max_distance, self.mean_distance)

    @property
    def sealed_entry(self) -> dict[str, Any]:
        """The shard's entry in the manifest of a sealed export."""
        size, name = sealed_size(self.size), self.name + SUFFIX
        return {"name": name, "count": self.count, "size": size, "sha256": self.sealed}

    @classmethod
    def from_entry(cls, index: int, entry: dict[str, Any], sealed: str | None = None) -> "ShardReport":
        """Rebuild a report as far as its entry in the manifest, and in that of the sealed export, allows."""
        distance = entry.get("distance", {})
        written = entry["count"], entry["size"], entry["sha256"]
        return cls(index, *written, [], [], "", distance.get("max"), distance.get("mean"), sealed=sealed)


def overall_distance(reports: Iterable[ShardReport]) -> tuple[float, float] | tuple[None, None]:
    """Return the largest and the mean distance over all images, if there are any."""
    known = [(r.max_distance, r.mean_distance, r.count) for r in sorted(reports, key=lambda report: report.index)]
    measured = [(most, mean, count) for most, mean, count in known if most is not None and mean is not None]
    if not measured:
        return None, None
    total = sum(mean * count for _, mean, count in measured)
    return max(most for most, _, _ in measured), total / sum(count for _, _, count in measured)


def distance_member(most: float | None, mean: float | None) -> dict[str, Any]:
    """Return the manifest's member with the largest and the mean distance; nothing if nothing was measured."""
    return {} if most is None else {"distance": {"max": most, "mean": mean}}


class Reports:
    """Signed reports of finished shards, one file each, while an export runs. Deleted at the end.

    Args:
        store: store of the export.
        signing: key of the HMACs.
        plan: digest of the plan that the shards were made by.
    """

    def __init__(self, store: Store, signing: bytes, plan: str) -> None:
        self._store, self._signing, self._plan = store, signing, plan

    def read(self, names: Iterable[str]) -> dict[int, ShardReport]:
        """Return the reports in these files that are complete, signed and by this plan, by index."""
        found = self._store.read_all(names)
        reports = [self._parse(content) for content in found.values()]
        return {report.index: report for report in reports if report is not None}

    def _parse(self, content: bytes) -> ShardReport | None:
        try:
            document = parse(content)
        except ValueError:
            return None
        if not isinstance(document, dict) or not is_signed(document, self._signing) or document["plan"] != self._plan:
            return None
        return ShardReport(
            **{field.name: document[field.name] for field in fields(ShardReport) if field.name in document}
        )

    def write(self, report: ShardReport, part: str | None) -> None:
        """Write one report; :func:`torchprotect.data.status` reads ``part`` from it."""
        told = {name: value for name, value in asdict(report).items() if value is not None}
        told |= {"format": REPORT_FORMAT, "plan": self._plan} | ({} if part is None else {"part": part})
        with self._store.write(report_name(report.index)) as upload:
            upload.file.write(canonical(signed(told, self._signing)) + b"\n")
