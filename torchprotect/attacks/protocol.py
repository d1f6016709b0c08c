"""Define an attack: what it does, what it may see, and to which schemes it applies."""

import enum
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, get_args, overload

import torch
from torch import Tensor, nn

from torchprotect._inputs import require_tensor, type_name
from torchprotect.attacks.results import AttackResult, Level, PermutationResult, as_json
from torchprotect.attacks.scheme import Scheme
from torchprotect.attacks.scores.truth import Score
from torchprotect.errors import InputRangeError, InputTypeError

if TYPE_CHECKING:
    from torchprotect.attacks.disguise.examiner import DNNExaminer

Finds = Literal["class", "picture", "identity", "key", "distances", "equality", "metadata", "use"]
"""What an attack reveals: the class of an image, the picture, which image it is, a part of the key, which images are
alike, equal images and units, metadata, or a network that works on plain images."""

Files = Mapping[str, Callable[[], BinaryIO]]
"""Files by name, each with a function that opens it for reading, for an export at a URL."""

Reason = str | None
"""Why an attack does not apply; ``None`` if it does."""


class Need(enum.Enum):
    """Everything that an attack may require besides the disguised images and the algorithm."""

    RELEASED_LABELS = "labels as released"
    FOLDER = "the export's folder"
    PUBLIC = "plain images of the same kind"
    LABELS = "labels of plain images"
    KNOWN = "plain images that may be among the disguised ones"
    MEMBERS = "some plain images of the set, without pairs"
    PAIRS = "known pairs"
    ENCODER = "the encoder"
    PRETRAINED = "a pretrained network"
    NETWORKS = "a network matched to the key and its original"


class Pairs(NamedTuple):
    """Known pairs: plain images and their disguised versions ``[P, C, H, W]``, and their labels, int64 ``[P]``."""

    plain: Tensor
    disguised: Tensor
    labels: Tensor | None = None


class MatchedNetworks(NamedTuple):
    """A network matched to a key, as it was handed out, and the public network that it was made from.

    Attributes:
        matched: takes disguised images.
        original: takes plain images.
        std: standard deviation of the original network's normalisation, on the scale of 0..1: one number, or one for
            each channel.
        scale: value of white in the images that ``matched`` takes, 1 or 255.
    """

    matched: nn.Module
    original: nn.Module
    std: float | Sequence[float]
    scale: int = 1


@dataclass(frozen=True, eq=False, repr=False)
class Seen:
    """Everything that an attacker sees. Whatever is beyond the attacker's level is ``None``.

    Attributes:
        scheme: public parameters of the disguise.
        disguised: all images under attack, ``[N, C, H, W]``.
        targets: number of images to rebuild: the first of ``disguised``.
        classes: number of classes; 0 without labels.
        generator: seeded for this attack; on the CPU.
        device: where to compute.
        epochs: passes over the training images, for attacks that train a network.
        released: all images of the release, including those under attack, for attacks that count.
        released_labels: int64 ``[N]``, as written beside the disguised images.
        folder: folder of the export; for an export at a URL, its files by name, each with a function that opens it for
            reading.
        public: plain images of the same kind, uint8 or floating point in 0..1, ``[M, C, H, W]`` (from L1).
        public_labels: int64 ``[M]``, plain class numbers; guesses of classes are plain class numbers too.
        known: plain images that may be among the first ``targets`` disguised ones, in random order (from L1).
        members: plain images from anywhere among ``disguised``, in random order, except the targets (from L1).
        pairs: known pairs (from L2).
        embed: the encoder of scrambled images: takes plain images, returns embeddings ``[N, E]``.
        pretrained: a network trained on other images: takes float images in 0..1, returns features ``[N, E]``.
        networks: a network matched to the key, and its public original.
        recovered: returns the block order, recovered once for all attacks from no more than this attacker has; ``None``
            makes attacks recover it themselves.
        examiner: already trained on ``public``; ``None`` makes attacks that need one train their own.
    """

    scheme: Scheme
    disguised: Tensor
    targets: int
    classes: int = 0
    generator: torch.Generator = field(default_factory=torch.Generator)
    device: torch.device | str = "cpu"
    epochs: int = 8
    released: Tensor | None = None
    released_labels: Tensor | None = None
    folder: Path | Files | None = None
    public: Tensor | None = None
    public_labels: Tensor | None = None
    known: Tensor | None = None
    members: Tensor | None = None
    pairs: Pairs | None = None
    embed: Callable[[Tensor], Tensor] | None = None
    pretrained: Callable[[Tensor], Tensor] | None = None
    networks: MatchedNetworks | None = None
    recovered: Callable[[], PermutationResult] | None = None
    examiner: "DNNExaminer | None" = None

    def __post_init__(self) -> None:
        """Check for tensors, so that attacks may slice them.

        Raises:
            InputTypeError: one is something else.
        """
        pairs = {} if self.pairs is None else {f"{name} of pairs": each for name, each in self.pairs._asdict().items()}
        for name, each in {**{name: getattr(self, name) for name in _TENSORS}, **pairs}.items():
            if each is not None:
                require_tensor(name, each)

    @property
    def target(self) -> Tensor:
        """The images to rebuild."""
        return self.disguised[: self.targets]

    @property
    def order(self) -> Tensor | None:
        """The block order that was recovered for all attacks, int64 ``[positions]``; ``None`` if there is none."""
        return None if self.recovered is None else self.recovered().guesses

    @overload
    def need(self, need: Literal[Need.PAIRS]) -> Pairs: ...
    @overload
    def need(self, need: Literal[Need.ENCODER, Need.PRETRAINED]) -> Callable[[Tensor], Tensor]: ...
    @overload
    def need(self, need: Literal[Need.NETWORKS]) -> MatchedNetworks: ...
    @overload
    def need(self, need: Literal[Need.FOLDER]) -> Path | Files: ...
    @overload
    def need(
        self, need: Literal[Need.PUBLIC, Need.LABELS, Need.KNOWN, Need.MEMBERS, Need.RELEASED_LABELS]
    ) -> Tensor: ...

    def need(self, need: Need) -> Any:
        """Return one of the attacker's possessions.

        Raises:
            InputTypeError: the attacker does not have it.
        """
        found = getattr(self, _FIELDS[need])
        if found is None:
            raise InputTypeError(f"this attack needs {need.value}: give Seen its {_FIELDS[need]}")
        return found


_TENSORS = ("disguised", "released", "released_labels", "public", "public_labels", "known", "members")
_FIELDS = {
    Need.RELEASED_LABELS: "released_labels",
    Need.FOLDER: "folder",
    Need.PUBLIC: "public",
    Need.LABELS: "public_labels",
    Need.KNOWN: "known",
    Need.MEMBERS: "members",
    Need.PAIRS: "pairs",
    Need.ENCODER: "embed",
    Need.PRETRAINED: "pretrained",
    Need.NETWORKS: "networks",
}


def applies_to_all(scheme: Scheme) -> Reason:
    """Return no reason against any scheme."""
    return None


@dataclass(frozen=True, eq=False)
class Attack:
    """An attack with its description, as an audit uses it; :data:`torchprotect.attacks.ATTACKS` lists ours.

    Attributes:
        name: name of the plain function in :mod:`torchprotect.attacks`; a variant adds a word in parentheses.
        title: common name.
        about: what it does, in half a sentence.
        finds: what it reveals. A finding reveals what its best measure is about, or the picture if that was measured.
        level: attacker level, which is that of its result too.
        run: takes what the attacker sees, and one of ``variants`` as keyword arguments.
        score: how its result is compared with the truth.
        needs: what the attacker must have; where it is missing, the attack is not run. What :class:`Seen` holds depends
            on the level, not on these needs.
        holder: who the attacker is, if the level does not say it all: the subject of a sentence, with ``{pairs}`` for
            known pairs, or ``{images}`` for known images of the set.
        reason: takes a scheme, and returns why the attack does not apply to it, or ``None`` if it does.
        variants: settings to try; the one that leaks most counts.
        least_pairs: smallest number of known pairs it can run with.
        any_size: whether plain images may have another size than the disguised ones.
        trains: whether it trains a network, which takes so long that one number of pairs is enough.
        long: why an audit runs it only on request; empty if the audit always runs it.
        facts: takes a result, and returns numbers of it that have no scale.
        note: advice for reading its result.

    Raises:
        InputTypeError: an attribute has another type.
        InputRangeError: an attribute has an invalid value, or the attack needs something that its level does not have.
    """

    name: str
    title: str
    about: str
    finds: Finds
    level: Level
    run: Callable[..., AttackResult]
    score: Score
    needs: frozenset[Need] = frozenset()
    holder: str = ""
    reason: Callable[[Scheme], Reason] = applies_to_all
    variants: tuple[Mapping[str, Any], ...] = ({},)
    least_pairs: int = 1
    any_size: bool = False
    trains: bool = False
    long: str = ""
    facts: Callable[[Any], dict[str, Any]] = lambda result: {}
    note: str = ""

    def __post_init__(self) -> None:
        _require_attack(self)


def only_for(*names: str) -> Callable[[Scheme], Reason]:
    """Make a reason against all schemes except those of the named disguises, each used alone."""

    def reason(scheme: Scheme) -> Reason:
        if scheme.readable and "AdversarialEncrypt" not in names:
            return "the images are readable as they are"
        if scheme.other:
            return f"{' and '.join((*scheme.other, scheme.name))} are composed; the attack knows one disguise alone"
        if scheme.name not in names:
            return f"made for {' and '.join(names)}; these images went through {scheme.name}"
        return None

    return reason


def only_permuted(*names: str) -> Callable[[Scheme], Reason]:
    """Make a reason against all schemes except those of the named disguises with permuted blocks."""
    kind = only_for(*names)

    def reason(scheme: Scheme) -> Reason:
        if (found := kind(scheme)) is not None:
            return found
        return None if scheme.permuted else "the blocks are not permuted: there is no order to recover"

    return reason


def unless_readable(scheme: Scheme) -> Reason:
    """Return a reason against images that people can read as they are."""
    return "the images are readable as they are" if scheme.readable else None


_NEEDS_LEVEL = {
    Level.PUBLIC_DATA: {Need.PUBLIC, Need.LABELS, Need.KNOWN, Need.MEMBERS, Need.NETWORKS},
    Level.KNOWN_PAIRS: {Need.PAIRS},
}


def _require_attack(attack: Attack) -> None:
    """Check an attack when it is made; otherwise an audit would find the mistake only after all other work."""
    for name in ("name", "title", "about"):
        value = getattr(attack, name)
        if not isinstance(value, str) or not value:
            raise InputTypeError(f"{name} of an attack must be a text, got {value!r}")
    for name in ("run", "reason", "facts"):
        if not callable(value := getattr(attack, name)):
            raise InputTypeError(f"{name} of attack {attack.name!r} must be a function, got {type_name(value)}")
    for name, kind in (("level", Level), ("needs", frozenset), ("score", Score), ("variants", tuple)):
        value = getattr(attack, name)
        if not isinstance(value, kind):
            raise InputTypeError(f"{name} of attack {attack.name!r} must be a {kind.__name__}, got {type_name(value)}")
    if attack.finds not in get_args(Finds):
        raise InputRangeError(f"finds of attack {attack.name!r} must be one of {get_args(Finds)}, got {attack.finds!r}")
    if not attack.variants:
        raise InputRangeError(f"attack {attack.name!r} must have at least one variant; ({{}},) is one without settings")
    for variant in attack.variants:
        _require_settings(f"variants of attack {attack.name!r}", variant)
    if attack.holder.replace("{pairs}", "").replace("{images}", "").count("{"):
        raise InputRangeError(
            f"holder of attack {attack.name!r} may name nothing but {{pairs}} or {{images}} in braces"
        )
    for level, needs in _NEEDS_LEVEL.items():
        if attack.level < level and (more := needs & attack.needs):
            names = ", ".join(sorted(each.value for each in more))
            raise InputRangeError(
                f"attack {attack.name!r} is of level {attack.level.value} but needs {names}, which {level.value} has"
            )


def _require_settings(name: str, settings: Any) -> None:
    """Check for keyword arguments that a report can state."""
    if not isinstance(settings, Mapping):
        raise InputTypeError(f"{name} must be mappings of keyword arguments, got {type_name(settings)}")
    try:
        json.dumps(as_json(dict(settings)))
    except TypeError as error:
        raise InputTypeError(f"{name} must hold what JSON can: {error}") from error
