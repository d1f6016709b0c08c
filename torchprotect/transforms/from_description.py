"""``from_description``: rebuild the transform that a plan or manifest describes, with its key."""

from collections.abc import Sequence
from typing import Any

from torchvision.transforms import v2

from torchprotect.errors import ExportError, KeyKindError, NotInvertibleError
from torchprotect.keys import Key, KeyBundle
from torchprotect.transforms._disguise import Disguise
from torchprotect.transforms._from_key import from_key
from torchprotect.transforms.noise import SaltAndPepper
from torchprotect.transforms.pipeline import Pipeline

_SETTINGS = {"BlockPermute": (), "AESECBDisguise": ("unit_pixels",), "RMTDisguise": ("noise",)}
_ONE_WAY = ("AdversarialEncrypt", "OWSDScramble")


def from_description(described: Sequence[dict[str, Any]], key: Key) -> Pipeline:
    """Rebuild the steps of an export.

    Args:
        described: the entry ``transform`` of its plan or manifest.
        key: the key that the export was made with.

    Raises:
        KeyKindError: the disguise was made with another key.
        NotInvertibleError: the disguise depends on a network, which the export does not hold.
        ExportError: there are steps other than this package's disguises, or several disguises with keys.
    """
    return Pipeline(v2.Compose([_step(each, key) for each in _require_known(described)]))


def settings_of(described: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the options of :func:`torchprotect.transforms.from_key` with which the described disguise was made.

    Raises:
        NotInvertibleError, ExportError: as for :func:`from_description`.
    """
    found = {}
    for each in _require_known(described):
        found.update({setting: each[setting] for setting in _SETTINGS.get(each["name"], ())})
    return found


def _require_known(described: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    names = [each["name"] for each in described]
    if one_way := [name for name in names if name in _ONE_WAY]:
        raise NotInvertibleError(
            f"{one_way[0]} depends on a network and cannot be undone, not even with its key; keep the plain images"
        )
    if unknown := [name for name in names if name not in (*_SETTINGS, SaltAndPepper.__name__)]:
        raise ExportError(
            f"the export has a step that its manifest does not describe well enough to repeat it: {unknown[0]}; "
            "export with prepare=data.Preparation(..) in place of such steps"
        )
    if sum(name in _SETTINGS for name in names) != 1:
        raise ExportError(f"the export has several disguises ({', '.join(names)}), whose keys are not all in one file")
    return described


def _step(described: dict[str, Any], key: Key) -> Disguise:
    name = described["name"]
    if name == SaltAndPepper.__name__:
        return SaltAndPepper(described["amount"])
    inner = key.transform if isinstance(key, KeyBundle) else key
    if inner.fingerprint != described["key"]:
        raise KeyKindError(f"{name} was made with key {described['key'][:12]}, not with {inner.fingerprint[:12]}")
    step: Disguise = from_key(key, **{setting: described[setting] for setting in _SETTINGS[name]})
    if step.describe() != described:
        raise ExportError(f"the manifest describes another {name} than this key and version make")
    return step
