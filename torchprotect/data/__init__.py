"""Protected data: dataset wrappers, export to shards, and back."""

from torchprotect.data.datasets import ProtectedDataset, ProtectedIterableDataset
from torchprotect.data.export import ExportResult, Progress, export
from torchprotect.data.indexes import croissant_metadata, wids_index
from torchprotect.data.reader import read
from torchprotect.data.shards import ShardWriter
from torchprotect.data.sources import Sample, Source, open_source
from torchprotect.data.status import ExportStatus, PartStatus, status
from torchprotect.data.verify import VerifyResult, verify

__all__ = [
    "ExportResult",
    "ExportStatus",
    "PartStatus",
    "Progress",
    "ProtectedDataset",
    "ProtectedIterableDataset",
    "Sample",
    "ShardWriter",
    "Source",
    "VerifyResult",
    "croissant_metadata",
    "export",
    "open_source",
    "read",
    "status",
    "verify",
    "wids_index",
]
