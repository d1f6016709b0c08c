"""Make the owner's file of an export, once all shards exist."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from torchprotect._json import canonical
from torchprotect.data._report import ShardReport
from torchprotect.data._resume import Shards
from torchprotect.data._stored import read_shard
from torchprotect.data.owner import Original, Owner, encode_owner, open_owner, seal_owner
from torchprotect.data.sources import Label, Source, class_names_of, describe_source
from torchprotect.data.store import Store
from torchprotect.errors import ExportError
from torchprotect.keys import Key

_ID = 32  # hex digits
_CLASSES_TOLD = 6


@dataclass(frozen=True, repr=False)
class OwnerFile:
    """Makes the content of the owner's file.

    Attributes:
        source: that is exported.
        key: key of the export.
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
            reports: reports of all shards.
            files: the shards, opened. Those whose report was rebuilt from the manifest are read for their ids.
        """
        return seal_owner(encode_owner(self._about(), self._originals(reports, files)), self.key, self.plan)

    def require_same_labels(self, content: bytes, path: str) -> None:
        """Check that the source has the same classes and labels as it had for a finished export.

        Args:
            content: content of the export's owner's file.
            path: path of that file, for error messages.

        Raises:
            ExportError: it has not. A manifest does not contain labels, so nothing else would notice.
        """
        was, now = open_owner(content, self.key, self.plan, path), self._about()
        if was.class_names != now.class_names:
            raise ExportError(
                f"the classes of the source are not those of the finished export: {_told(was)}, now {_told(now)}. To "
                "add images of other classes, export them as another split with --classes-of this export; for other "
                "labels choose another place"
            )
        if was.labels != now.labels:
            raise ExportError(
                "the labels of the source are not those of the finished export; nothing was changed. Choose another "
                "place for an export with other labels"
            )

    def _about(self) -> Owner:
        labels = self.source.known_labels() if hasattr(self.source, "known_labels") else None
        names = class_names_of(self.source)
        digest = None if labels is None else hashlib.sha256(canonical(labels)).hexdigest()
        return Owner(describe_source(self.source), names, {}, digest, self._in_class_folders(labels, names))

    def _in_class_folders(self, labels: Sequence[Label] | None, names: tuple[str, ...] | None) -> bool:
        if labels is None or names is None:
            return False
        return all(
            isinstance(label, int) and self.source.name(index).partition("/")[0] == names[label]
            for index, label in enumerate(labels)
        )

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


def _told(owner: Owner) -> str:
    if owner.class_names is None:
        return "without names"
    told = list(owner.class_names[:_CLASSES_TOLD])
    return ", ".join(told if len(told) == len(owner.class_names) else [*told, ".."])
