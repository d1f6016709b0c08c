"""What an export shows without any attack: images and units that repeat, and what stands beside the pixels."""

import json
from typing import Any

from torchprotect import attacks
from torchprotect.attacks import AttackResult, Level
from torchprotect.audit._bench import Bench
from torchprotect.audit._checks._base import Check, NotApplicable, Reason
from torchprotect.audit.report.finding import Finding


def _duplicates(bench: Bench) -> Finding:
    scheme = bench.evidence.scheme
    units: dict[str, Any] = {}
    if scheme.name == "AESECBDisguise" and not scheme.other:
        units = {"block_size": scheme.blocks, "unit_pixels": scheme.unit_pixels}
    result = attacks.duplicate_statistics(bench.evidence.disguised, **units)
    return Finding(DUPLICATES.name, result.level, "equality", facts=_facts(result), cost=result.cost)


def _metadata(bench: Bench) -> Finding:
    assert bench.evidence.folder is not None  # noqa: S101 - the check has asked for it
    result = attacks.metadata_scan(bench.evidence.folder)
    return Finding(METADATA.name, result.level, "metadata", facts=_facts(result), cost=result.cost)


def _facts(result: AttackResult) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(result.to_json())
    return {name: value for name, value in told.items() if name not in ("level", "cost")}


def _always(bench: Bench) -> Reason:
    return None


def _needs_folder(bench: Bench) -> Reason:
    if bench.evidence.folder is None:
        return NotApplicable("these are tensors: there is no folder to look at")
    return None


DUPLICATES = Check("duplicate_statistics", Level.CIPHERTEXT_ONLY, _always, _duplicates)
METADATA = Check("metadata_scan", Level.CIPHERTEXT_ONLY, _needs_folder, _metadata)
