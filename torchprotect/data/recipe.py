"""How the images of an export were made from pictures; with the key, enough to make more."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from torchprotect._inputs import require_scale, type_name
from torchprotect.data import manifest as documents
from torchprotect.data.finished import FinishedExport, Identities, open_finished, other_key
from torchprotect.data.preparation import Preparation, decoder_versions
from torchprotect.errors import InputRangeError, InputTypeError, KeyKindError, ProtectError, VerificationError
from torchprotect.keys import Key
from torchprotect.transforms import Disguise
from torchprotect.transforms.from_description import from_description


@dataclass(frozen=True, repr=False)
class Recipe:
    """The steps that turn a picture into a disguised image of an export. Everything in it is public.

    Attributes:
        key: fingerprint of the key.
        transform: description of each step, as in the manifest.
        preparation: steps before the disguise.
        scale: value of white in plain images: 255 for uint8, 1 for floating point.
        store: ``"float16"`` if floating-point images are stored in half precision, otherwise ``None``.
        decoders: versions of the software that decoded and resized pictures.
    """

    key: str
    transform: tuple[dict[str, Any], ...]
    preparation: Preparation = field(default_factory=Preparation)
    scale: int = 255
    store: str | None = None
    decoders: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of_export(cls, export: str | os.PathLike[str], *, identity: Identities = None) -> "Recipe":
        """Read the recipe of a finished export; no key is needed.

        Args:
            export: its folder or URL.
            identity: opens the export if it is sealed, as for :func:`torchprotect.data.read`.

        Raises:
            ExportError: it is not a finished export.
            VerificationError: its plan and manifest do not belong together.
        """
        opened = open_finished(export, identity=identity)
        plan = documents.read_document(opened.store, documents.PLAN, documents.PLAN_FORMAT)
        if opened.manifest["plan"] != documents.digest(plan):
            raise VerificationError(f"{opened.store.location}: plan and manifest do not belong together")
        return cls.of_opened(opened, plan)

    @classmethod
    def of_opened(cls, export: FinishedExport, plan: Mapping[str, Any]) -> "Recipe":
        """Return the recipe of an export that is already open.

        Args:
            export: the export.
            plan: its plan.
        """
        manifest = export.manifest
        return cls(
            key=manifest["key"],
            transform=tuple(manifest["transform"]),
            preparation=Preparation.from_description(manifest.get("prepare") or {}),
            scale=manifest["plain"]["scale"],
            store=manifest.get("store"),
            decoders=plan.get("decoders", {}),
        )

    @classmethod
    def of_disguise(
        cls, disguise: Disguise, *, key: Key | None = None, preparation: Preparation | None = None, scale: int
    ) -> "Recipe":
        """Return the recipe for pictures that are disguised on the fly, without an export.

        Args:
            disguise: such as :func:`torchprotect.transforms.from_key` makes.
            key: the bundle whose label map renames the classes; the key of ``disguise`` when ``None``.
            preparation: steps before the disguise; ``None`` for pictures that are used as they are.
            scale: value of white in the images that ``disguise`` receives: 255 for uint8, 1 for floating point.

        Raises:
            KeyKindError: the disguise has no key, a key other than ``key``, or two keys although no bundle is given.
            InputRangeError: ``scale`` is another number.
            InputTypeError: the disguise does not take images of that scale.
        """
        if not isinstance(disguise, Disguise) or disguise.key is None:
            received = f"{type(disguise).__module__}.{type_name(disguise)}"
            raise KeyKindError(f"disguise must be a disguise of torchprotect.transforms with a key, got {received}")
        if disguise.inverse:
            raise InputRangeError("disguise must be the one that makes the images, not its inverse")
        if key is None and disguise.permutation is not None:
            raise KeyKindError("the disguise has two keys: give the bundle that holds both as key=")
        require_scale(scale)
        made = from_description([disguise.describe()], key or disguise.key)
        made.disguise_batch(_black(disguise, scale), None, noise=torch.zeros)  # AES refuses floating point
        fingerprint = (key or disguise.key).fingerprint
        steps, prepared = (disguise.describe(),), preparation or Preparation()
        return cls(fingerprint, steps, prepared, scale, decoders=decoder_versions() if prepared else {})

    def __repr__(self) -> str:
        steps = ", ".join(str(step["name"]) for step in self.transform)
        return f"Recipe({self.preparation}, {steps}, scale={self.scale}, key={self.key[:12]})"

    def describe(self) -> dict[str, Any]:
        """Return the recipe as JSON-compatible values."""
        return {
            "decoders": dict(self.decoders),
            "key": self.key,
            "prepare": self.preparation.describe(),
            "scale": self.scale,
            "store": self.store,
            "transform": [dict(step) for step in self.transform],
        }

    @classmethod
    def from_description(cls, described: Any) -> "Recipe":
        """Make a recipe from the result of :meth:`describe`, which may come from an untrusted file.

        Raises:
            InputTypeError: the description is not one of a recipe.
        """
        given = described if isinstance(described, Mapping) else {}
        if wrong := [name for name, fits in _MEMBERS.items() if not fits(given.get(name))]:
            raise InputTypeError(f"this is not a recipe: missing or damaged: {', '.join(wrong)}")
        try:
            preparation = Preparation.from_description(described["prepare"])
        except ProtectError as error:
            raise InputTypeError(f"this is not a recipe: {error}") from None
        return cls(
            key=described["key"],
            transform=tuple(described["transform"]),
            preparation=preparation,
            scale=described["scale"],
            store=described["store"],
            decoders=described["decoders"],
        )

    def require_key(self, key: Key, what: str) -> None:
        """Check that a key is the one of this recipe.

        Args:
            key: any value.
            what: what was made with the key, for the error message.

        Raises:
            KeyKindError: it is not a key, or another key.
        """
        if not isinstance(key, Key):
            raise KeyKindError(f"key must be a Key, got {type_name(key)}; read one with keys.load")
        if key.fingerprint != self.key:
            raise KeyKindError(f"{what} was made with key {self.key[:12]}, {other_key(key, {'key': self.key})}")


def _black(disguise: Disguise, scale: int) -> Tensor:
    """Return a black image that the disguise should take."""
    size = disguise.describe().get("image_size", (1, 1))
    return torch.zeros(1, getattr(disguise.key, "channels", None) or 1, *size, dtype=_DTYPES[scale])


_DTYPES = {255: torch.uint8, 1: torch.float32}
_MEMBERS: dict[str, Callable[[Any], bool]] = {
    "decoders": lambda value: isinstance(value, dict),
    "key": documents.is_digest,
    "prepare": lambda value: isinstance(value, dict),
    "scale": lambda value: type(value) is int and value in (1, 255),
    "store": lambda value: value in (None, "float16"),
    "transform": lambda value: documents.are_steps(value) and bool(value),
}
