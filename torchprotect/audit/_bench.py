"""The bench that attacks are run on: what each level gets, and what several attacks share."""

import hashlib
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor, nn

from torchprotect import attacks
from torchprotect.attacks import DNNExaminer
from torchprotect.attacks.results import ClassGuesses, Level, PermutationResult
from torchprotect.attacks.disguise._neighbours import vote
from torchprotect.audit._encoder import embeddings_of
from torchprotect.audit._evidence import Evidence
from torchprotect.audit._settings import Settings
from torchprotect.audit._small import small
from torchprotect.audit._split import split
from torchprotect.errors import InputRangeError

_VOTERS = 5  # neighbours, as of the attacks


def usable_device(name: str) -> torch.device:
    """Return a device by its name.

    Raises:
        InputRangeError: there is none of this name here.
    """
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputRangeError(f"device {name!r} cannot be used here: {reason}") from error


class Bench:
    """An evidence on its device, divided, with an examiner and recovered orders made once.

    Args:
        evidence: what is audited.
        settings: how much is done.
        encoder: of scrambled images, where an attacker is to have it.
    """

    def __init__(self, evidence: Evidence, settings: Settings, encoder: nn.Module | None = None) -> None:
        self.settings, self.encoder = settings, encoder
        self._orders: dict[int, PermutationResult] = {}
        self._embedded: dict[int, Tensor] = {}
        device = usable_device(settings.device)
        names = ("disguised", "labels", "plain", "plain_labels", "pairing", "order", "label_map")
        moved = {name: each.to(device) for name in names if (each := getattr(evidence, name)) is not None}
        self.evidence = replace(evidence, **moved)
        self.split = split(self.evidence, settings.seed)

    def generator(self, purpose: str) -> torch.Generator:
        """Return a generator on the CPU, seeded for one purpose: the order of attacks makes no difference."""
        drawn = hashlib.sha256(f"{self.settings.seed} {purpose}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(drawn[:7], "little"))

    def targets(self, count: int | None = None) -> Tensor:
        """Return indices of images to be attacked: so many, or as many as the settings let attacks rebuild."""
        return self.split.attacked[: self.settings.targets if count is None else count]

    def disguised(self, indices: Tensor) -> Tensor:
        """Return disguised images."""
        return self.evidence.disguised[indices.to(self.evidence.disguised.device)]

    def truth(self, indices: Tensor) -> Tensor:
        """Return the plain images of disguised ones: for scores, and for known pairs."""
        assert self.evidence.pairing is not None  # noqa: S101 - each check has asked for pairs
        return self.plain(self.evidence.pairing[indices.to(self.evidence.pairing.device)])

    def embeddings(self, indices: Tensor) -> Tensor:
        """Return the encoder's embeddings of the plain images of disguised ones, each made once: float32 ``[N, E]``."""
        assert self.encoder is not None  # noqa: S101 - each check has asked for it
        places = indices.tolist()
        missing = [each for each in dict.fromkeys(places) if each not in self._embedded]
        if missing:
            made = embeddings_of(self.encoder, self.truth(torch.tensor(missing)))
            self._embedded |= dict(zip(missing, made, strict=True))
        return torch.stack([self._embedded[each] for each in places])

    def plain(self, indices: Tensor) -> Tensor:
        """Return plain images."""
        assert self.evidence.plain is not None  # noqa: S101 - each check has asked for them
        return self.evidence.plain[indices.to(self.evidence.plain.device)]

    def plain_labels(self, indices: Tensor) -> Tensor:
        """Return the classes of plain images."""
        assert self.evidence.plain_labels is not None  # noqa: S101 - each check has asked for them
        return self.evidence.plain_labels[indices.to(self.evidence.plain_labels.device)]

    def public(self, count: int | None = None) -> tuple[Tensor, Tensor]:
        """Return images and labels that an attacker has from L1 on."""
        indices = self.split.public[:count]
        return self.plain(indices), self.plain_labels(indices)

    def pairs(self, count: int) -> tuple[Tensor, Tensor]:
        """Return plain and disguised images that an attacker has at L2."""
        indices = self.split.known[:count]
        return self.truth(indices), self.disguised(indices)

    def numbers_of_pairs(self) -> list[int]:
        """Return the numbers of known pairs to try, ascending: those of the settings, or all if there are fewer."""
        scheme, most = self.evidence.scheme, len(self.split.known)
        least = 2 if scheme.permuted and scheme.preserved == "equality" else 1  # what tells the order
        return sorted({min(most, max(least, each)) for each in self.settings.pairs})

    @cached_property
    def examiner(self) -> DNNExaminer:
        """The network that judges images, trained on public ones."""
        return self.train(0, *self.public(self.settings.train_images))

    def train(self, number: int, images: Tensor, labels: Tensor) -> DNNExaminer:
        """Train a network of the kind that judges."""
        height, width = images.shape[-2:]
        made = DNNExaminer(max(2, self.evidence.classes), (height, width), images.shape[1])
        return made.fit(images, labels, epochs=self.settings.epochs, generator=self.generator(f"training {number}"))

    def look(self, images: Tensor) -> ClassGuesses:
        """Show images, disguised or rebuilt, to the examiner."""
        floats = images.is_floating_point() and self.evidence.plain is not None
        scale = 255 if floats and self.evidence.plain.dtype == torch.uint8 else None  # type: ignore[union-attr]
        return self.examiner.predict(images, scale=scale)

    def identities(self, indices: Tensor) -> Tensor:
        """Return which disguised images come from equal plain ones, int64 ``[N]``: these share a number."""
        assert self.evidence.pairing is not None  # noqa: S101 - each check has asked for pairs
        return self.evidence.identities[self.evidence.pairing.cpu()[indices]]

    @cached_property
    def guesses_on_plain(self) -> dict[str, ClassGuesses]:
        """What the examiner, and a vote of the nearest public images, take the plain images of attacked ones for."""
        clean, (public, labels) = self.plain(self.split.clean), self.public()
        near = vote(small(public)[None], labels, small(clean)[None], self.evidence.classes, _VOTERS)
        cost = {"comparisons": len(clean) * len(public)}
        voted = ClassGuesses(Level.PUBLIC_DATA, cost, near)
        return {"nearest neighbours": voted, "examiner": self.examiner.predict(clean)}

    @cached_property
    def clean_accuracy(self) -> float:
        """What the examiner reaches on plain images that it has not seen."""
        guesses = self.guesses_on_plain["examiner"]
        return attacks.score_classes(guesses, self.plain_labels(self.split.clean)).accuracy

    def order_from_pairs(self, count: int) -> PermutationResult | None:
        """Return the order of the blocks as so many known pairs give it; ``None`` where blocks were not moved."""
        scheme = self.evidence.scheme
        if not scheme.permuted or scheme.preserved is None:
            return None
        if count not in self._orders:
            self._orders[count] = attacks.recover_permutation(*self.pairs(count), **scheme.matching)
        return self._orders[count]

    @cached_property
    def order_from_statistics(self) -> PermutationResult | None:
        """The order of the blocks as public images give it; ``None`` where blocks were not moved."""
        scheme = self.evidence.scheme
        if not scheme.permuted or scheme.preserved is None:
            return None
        public, disguised = self.plain(self.split.public), self.disguised(self.split.attacked)
        return attacks.recover_permutation_from_statistics(public, disguised, **scheme.matching)

    @property
    def supposed_order(self) -> Tensor:
        """The order of the blocks as an attacker with public images takes it, int64 ``[positions]``."""
        if self.order_from_statistics is not None:
            return self.order_from_statistics.guesses
        height, width = self.evidence.scheme.blocks
        rows, columns = self.evidence.disguised.shape[-2] // height, self.evidence.disguised.shape[-1] // width
        return torch.arange(rows * columns, device=self.evidence.disguised.device)
