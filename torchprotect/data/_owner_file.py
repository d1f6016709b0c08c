"""Making the owner's file of an export, once all shards are there."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from torchprotect.data._report import ShardReport
from torchprotect.data._resume import Shards
from torchprotect.data._stored import read_shard
from torchprotect.data.owner import Original, encode_owner, seal_owner
from torchprotect.data.sources import Source, class_names_of, describe_source
from torchprotect.data.store import Store
from torchprotect.keys import Key

_ID = 32  # hex digits


@dataclass(frozen=True, repr=False)
class OwnerFile:
    """Makes the content of the owner's file.

    Attributes:
        source: that is exported.
        key: of the export.
        plan: digest of the plan of the open export.
        shards: source indices of the samples of each shard.
        classes: number of classes where images have several labels.
    """

    source: Source
    key: Key
    plan: str
    shards: Shards
    classes: int | None = None

    def __call__(self, reports: Iterable[ShardReport], files: Store) -> bytes:
        """Return the content.

        Args:
            reports: of all shards.
            files: the shards, opened. Those whose report was rebuilt from the manifest are read for their ids.
        """
        found = self._originals(reports, files)
        text = encode_owner(describe_source(self.source), class_names_of(self.source), found)
        return seal_owner(text, self.key, self.plan)

    def _originals(self, reports: Iterable[ShardReport], files: Store) -> Iterator[tuple[str, Original]]:
        """Yield id and origin of each sample, in the order in which they were written."""
        for report in reports:
            skipped = set(report.skipped)
            indices = [index for index in self.shards[report.index].tolist() if index not in skipped]
            for identity, index in zip(self._ids(report, files), indices, strict=True):
                yield identity, Original(index, self.source.name(index))

    def _ids(self, report: ShardReport, files: Store) -> list[str]:
        if report.is_from_manifest:
            return [sample.id for sample in read_shard(files, report.entry, None, classes=self.classes)]
        return [report.ids[start : start + _ID] for start in range(0, len(report.ids), _ID)]
