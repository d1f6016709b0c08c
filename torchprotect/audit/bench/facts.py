"""Facts about an audit: its data, its settings and its environment."""

import os
import platform
from typing import Any

import torch
from torch import Tensor

from torchprotect import ops
from torchprotect._version import __version__
from torchprotect.attacks.scheme import SCRAMBLING
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.evidence.evidence import Evidence

_RENAMED = (
    "No key was given: guessed classes are scored under the renaming of classes that suits the guesses best, and "
    "chance is the score of the same guesses in random order, under the renaming that suits those best."
)
_OVERLAP = (
    "No key was given: it was not checked that the plain images are those that were exported, and public images may "
    "include the attacked ones, so that figures may be too high."
)
_UNSIGNED = "No key was given: the manifest's HMAC was not checked."


def data_facts(evidence: Evidence) -> dict[str, Any]:
    """Return sizes, base rates and digests."""
    return {
        "images": len(evidence.disguised),
        "image_size": list(evidence.disguised.shape[-2:]),
        "channels": evidence.disguised.shape[1],
        "classes": evidence.classes_present,
        "base_rates": _rates(evidence.plain_labels),
        "base_rates_as_written": _rates(evidence.labels),
        "plain_images": None if evidence.plain is None else len(evidence.plain),
        "duplicates": evidence.duplicates,
        "plain_size": None if evidence.plain is None else list(evidence.plain.shape[1:]),
        "comparable": is_comparable(evidence),
        "paired": evidence.pairing is not None,
        "sha256": evidence.digest,
        **{name: evidence.about.get(name) for name in ("manifest_sha256", "disguised_sha256", "plain_sha256")},
        "images_in_export": evidence.about.get("images_in_export"),
        "shards": evidence.about.get("shards"),
        "hmac_checked": evidence.about.get("hmac_checked"),
        "caveats": _caveats(evidence),
    }


def is_comparable(evidence: Evidence) -> bool:
    """Return whether plain images, if there are any, have the shape of the disguised ones, or need not have it."""
    if evidence.plain is None or evidence.scheme.name == SCRAMBLING:
        return True
    return evidence.plain.shape[1:] == evidence.disguised.shape[1:]


def disguise_facts(evidence: Evidence) -> dict[str, Any]:
    """Return the disguise with all public parameters; of the key only its fingerprint."""
    scheme = evidence.scheme
    return {
        "name": scheme.name,
        "block_size": None if scheme.block_size is None else list(scheme.block_size),
        "blocks_permuted": scheme.permuted,
        "steps": list(scheme.steps),
        "readable": scheme.readable,
        "composed_with": list(scheme.other),
        "classes_renamed": None if evidence.pairing is None else evidence.label_map is not None,
        "key_fingerprint": evidence.about.get("key_fingerprint"),
        "plain_dtype": evidence.about.get("plain_dtype") or _dtype(evidence.plain),
        "stored_dtype": _dtype(evidence.disguised),
        "security_claim": evidence.about.get("security_claim"),
        "distance": evidence.about.get("distance"),
    }


def environment_facts(bench: Bench) -> dict[str, Any]:
    """Return versions and hardware."""
    device = torch.device(bench.settings.device)
    return {
        "torchprotect": __version__,
        "attacks": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
        "training_precision": str(bench.settings.precision or torch.float32).removeprefix("torch."),
        "kernels": {name: kinds.get(device.type) for name, kinds in ops.backend().items()},
    }


def split_facts(bench: Bench) -> dict[str, int]:
    """Return how many images each level got."""
    names = ("attacked", "others", "known", "public", "clean")
    return {name: len(getattr(bench.split, name)) for name in names}


def _caveats(evidence: Evidence) -> list[str]:
    """Return the caveats of an audit without a key."""
    unpaired = evidence.plain is not None and evidence.pairing is None
    told = (
        (unpaired and evidence.labels is not None, _RENAMED),
        (unpaired, _OVERLAP),
        (evidence.about.get("hmac_checked") is False, _UNSIGNED),
    )
    return [sentence for applies, sentence in told if applies]


def _rates(labels: Tensor | None) -> list[float] | None:
    return None if labels is None else [round(each, 4) for each in (labels.bincount() / len(labels)).tolist()]


def _dtype(images: Tensor | None) -> str | None:
    return None if images is None else str(images.dtype).removeprefix("torch.")
