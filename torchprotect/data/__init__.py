"""Datasets that disguise on the fly, exports to WebDataset shards, and the ways back to plain images."""

from torchprotect.data.datasets import ProtectedDataset, ProtectedIterableDataset
from torchprotect.data.disguiser import Disguiser, Picture
from torchprotect.data.export import ExportResult, Progress, export
from torchprotect.data.indexes import croissant_metadata, wids_index
from torchprotect.data.owned import read_owner
from torchprotect.data.owner import Original, Owner
from torchprotect.data.preparation import Preparation, Shape
from torchprotect.data.reader import read
from torchprotect.data.recipe import Recipe
from torchprotect.data.recipients import add_recipients, count_recipients, set_recipients
from torchprotect.data.rekey import rekey
from torchprotect.data.restore import RestoreResult, restore
from torchprotect.data.sealing import open_export, seal_export
from torchprotect.data.shard_dataset import ShardDataset
from torchprotect.data.shards import ShardWriter
from torchprotect.data.sources import Header, Sample, Source, open_source, open_sources
from torchprotect.data.splits import export_splits
from torchprotect.data.status import ExportStatus, PartStatus, status
from torchprotect.data.verify import VerifyResult, verify

__all__ = [
    "Disguiser",
    "ExportResult",
    "ExportStatus",
    "Header",
    "Original",
    "Owner",
    "PartStatus",
    "Picture",
    "Preparation",
    "Progress",
    "ProtectedDataset",
    "ProtectedIterableDataset",
    "Recipe",
    "RestoreResult",
    "Sample",
    "Shape",
    "ShardDataset",
    "ShardWriter",
    "Source",
    "VerifyResult",
    "add_recipients",
    "count_recipients",
    "croissant_metadata",
    "export",
    "export_splits",
    "open_export",
    "open_source",
    "open_sources",
    "read",
    "read_owner",
    "rekey",
    "restore",
    "seal_export",
    "set_recipients",
    "status",
    "verify",
    "wids_index",
]
