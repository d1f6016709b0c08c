"""Indexes that describe an export to readers other than this package: made from its manifest, kept outside it."""

from torchprotect.data.indexes._writing import write_indexes
from torchprotect.data.indexes.croissant import croissant_metadata
from torchprotect.data.indexes.wids import wids_index

__all__ = ["croissant_metadata", "wids_index", "write_indexes"]
