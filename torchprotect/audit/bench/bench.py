"""The bench that attacks are run on: what each level gets, and what several attacks share."""

import copy
import hashlib
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from torchprotect.attacks import (
    ATTACKS,
    Attack,
    ClassGuesses,
    DNNExaminer,
    Level,
    MatchedNetworks,
    Need,
    Pairs,
    PermutationResult,
    Seen,
    recover_permutation,
    recover_permutation_from_statistics,
    score_classes,
)
from torchprotect.audit.bench.pretrained import PretrainedFeatures, is_installed
from torchprotect.audit.bench.settings import Settings
from torchprotect.audit.evidence.encoder import Embedder
from torchprotect.audit.evidence.evidence import Evidence
from torchprotect.audit.evidence.split import split
from torchprotect.errors import InputRangeError, InputShapeError


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
        encoder: encoder of scrambled images, where an attacker is to have it.
        networks: one matched to the key and its original, where an attacker is to have them.
        scramble: what scrambles plain images, before rounding and for autograd, which the owner alone has.
        pretrained: a network trained on other images; the one that is installed when ``None``.
    """

    def __init__(
        self,
        evidence: Evidence,
        settings: Settings,
        encoder: nn.Module | None = None,
        networks: MatchedNetworks | None = None,
        scramble: Callable[[Tensor], Tensor] | None = None,
        pretrained: nn.Module | None = None,
    ) -> None:
        self.settings, self.encoder, self.networks = settings, encoder, networks
        self.scramble, self.given_pretrained = scramble, pretrained
        self.embed = None if encoder is None else Embedder(encoder)
        self._orders: dict[int, PermutationResult] = {}
        device = usable_device(settings.device)
        names = ("disguised", "labels", "plain", "plain_labels", "pairing", "order", "correspondence", "label_map")
        on_device = {name: each.to(device) for name in names if (each := getattr(evidence, name)) is not None}
        self.evidence = replace(evidence, **on_device)
        self.split = split(self.evidence, settings.seed)

    def generator(self, purpose: str) -> torch.Generator:
        """Return a generator on the CPU, seeded for one purpose, so that the order of attacks makes no difference."""
        drawn = hashlib.sha256(f"{self.settings.seed} {purpose}".encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(drawn[:7], "little"))

    def seen(self, attack: Attack, number: int) -> Seen:
        """Return what the attacker of an attack sees.

        Args:
            attack: its level determines what the attacker knows.
            number: number of known pairs, from L2 on; or of known images, if the attack takes some.
        """
        knows_public = attack.level >= Level.PUBLIC_DATA and self.evidence.plain is not None
        pairs = number if attack.level >= Level.KNOWN_PAIRS else 0
        seen = Seen(
            self.evidence.scheme,
            self.disguised(self.split.attacked),
            len(self.targets),
            classes=self.evidence.classes,
            generator=self.generator(attack.name),
            device=self.settings.device,
            epochs=self.settings.inversion_epochs,
            released=self.evidence.disguised,
            released_labels=self._released_labels(),
            folder=self.evidence.folder,
            embed=self.embed,
            pretrained=self.pretrained if Need.PRETRAINED in attack.needs else None,
            networks=self.networks,
            recovered=self._recovered(pairs) if knows_public else None,
        )
        if knows_public:
            public, labels = self.public()
            seen = replace(seen, public=public, public_labels=labels, known=self._known())
        if knows_public and Need.LABELS in attack.needs:
            seen = replace(seen, examiner=self.examiner)
        if Need.MEMBERS in attack.needs:
            seen = self._with_members(seen, number)
        if pairs:
            seen = replace(seen, pairs=self.pairs(pairs))
        return seen if attack in ATTACKS else _unshared(seen)

    @cached_property
    def pretrained(self) -> nn.Module | None:
        """A network trained on other images, the given or the installed one; ``None`` if there is none."""
        if self.given_pretrained is not None or not is_installed():
            return self.given_pretrained
        return PretrainedFeatures().to(self.settings.device)

    @property
    def targets(self) -> Tensor:
        """Indices of the disguised images that attacks rebuild."""
        return self.split.attacked[: self.settings.targets]

    @cached_property
    def known_order(self) -> Tensor:
        """The random order in which attackers receive the plain images of ``targets``, so that it reveals nothing."""
        return torch.randperm(len(self.targets), generator=self.generator("known images"))

    def disguised(self, indices: Tensor) -> Tensor:
        """Return the disguised images at these indices."""
        return self.evidence.disguised[indices.to(self.evidence.disguised.device)]

    def truth(self, indices: Tensor) -> Tensor:
        """Return the plain images of disguised ones: for scores, and for known pairs."""
        return self.plain(self.evidence.paired[indices.to(self.evidence.paired.device)])

    def plain(self, indices: Tensor) -> Tensor:
        """Return plain images."""
        images = _given("plain images", self.evidence.plain)
        return images[indices.to(images.device)]

    def plain_labels(self, indices: Tensor) -> Tensor:
        """Return the classes of plain images."""
        labels = _given("labels of plain images", self.evidence.plain_labels)
        return labels[indices.to(labels.device)]

    def public(self, count: int | None = None) -> tuple[Tensor, Tensor | None]:
        """Return images, and labels if there are any, that an attacker has from L1 on."""
        indices = self.split.public[:count]
        labels = None if self.evidence.plain_labels is None else self.plain_labels(indices)
        return self.plain(indices), labels

    def pairs(self, count: int) -> Pairs:
        """Return plain and disguised images that an attacker has at L2."""
        indices = self.split.known[:count]
        plain = self.evidence.paired[indices.to(self.evidence.paired.device)]
        labels = None if self.evidence.plain_labels is None else self.plain_labels(plain)
        return Pairs(self.plain(plain), self.disguised(indices), labels)

    def numbers_known(self, attack: Attack) -> list[int]:
        """Return the numbers of known pairs, or known images, to try, ascending; ``[0]`` for attacks without.

        They are those of the settings, or all if there are fewer.
        """
        most = len(self.split.known)
        if Need.MEMBERS in attack.needs:
            return sorted({min(most, each) for each in self.settings.pairs})
        if Need.PAIRS not in attack.needs:
            return [0]
        scheme = self.evidence.scheme
        if attack.trains:
            return [min(self.settings.inversion_pairs, most)]
        told_by = 2 if scheme.permuted and scheme.preserved == "equality" else 1  # pairs needed to recover the order
        least = max(told_by, attack.least_pairs)
        return sorted({min(most, max(least, each)) for each in self.settings.pairs})

    def _with_members(self, seen: Seen, count: int) -> Seen:
        """Give an attacker some plain images, and put their disguised versions at random places behind the targets.

        They are not among the attacked images, so that everything the attack rebuilds is unknown to the attacker.
        """
        draws, known = self.generator("images of the set"), self.split.known[:count]
        hidden = torch.cat([self.split.attacked[seen.targets :], known])
        hidden = hidden[torch.randperm(len(hidden), generator=draws)]
        return replace(seen, disguised=self.disguised(torch.cat([self.targets, hidden])), members=self.truth(known))

    @cached_property
    def examiner(self) -> DNNExaminer:
        """The network that judges images, trained on public ones."""
        images, labels = self.public(self.settings.train_images)
        return self.train(0, images, _given("labels of plain images", labels))

    def train(self, number: int, images: Tensor, labels: Tensor) -> DNNExaminer:
        """Train a network of the kind that judges."""
        height, width = images.shape[-2:]
        made = DNNExaminer(max(2, self.evidence.classes), (height, width), images.shape[1])
        return made.fit(
            images,
            labels,
            epochs=self.settings.epochs_over(len(images)),
            precision=self.settings.precision,
            channels_last=True,
            generator=self.generator(f"training {number}"),
        )

    def look(self, images: Tensor) -> ClassGuesses:
        """Show rebuilt images to the examiner."""
        plain = self.evidence.plain
        on_grey_levels = images.is_floating_point() and plain is not None and plain.dtype == torch.uint8
        return self.examiner.predict(images, scale=255 if on_grey_levels else None)

    @cached_property
    def clean_guesses(self) -> ClassGuesses:
        """The examiner's guesses for plain images that it has not seen."""
        return self.examiner.predict(self.plain(self.split.clean))

    @cached_property
    def clean_accuracy(self) -> float:
        """The share of these that are right."""
        return score_classes(self.clean_guesses, self.plain_labels(self.split.clean)).accuracy

    def _recovered(self, pairs: int) -> Callable[[], PermutationResult] | None:
        """Return a function that recovers the block order, from known pairs or without, once for all attacks."""
        if not self.evidence.scheme.permuted or self.evidence.scheme.preserved is None:
            return None
        return partial(self._recover, pairs)

    def _recover(self, pairs: int) -> PermutationResult:
        if pairs not in self._orders:
            scheme = self.evidence.scheme
            if pairs:
                plain, disguised, _ = self.pairs(pairs)
                self._orders[pairs] = recover_permutation(plain, disguised, scheme=scheme)
            else:
                public, disguised = self.plain(self.split.public), self.disguised(self.split.attacked)
                self._orders[pairs] = recover_permutation_from_statistics(public, disguised, scheme=scheme)
        return self._orders[pairs]

    def _released_labels(self) -> Tensor | None:
        labels = self.evidence.labels
        return None if labels is None else labels[self.split.attacked.to(labels.device)]

    def _known(self) -> Tensor | None:
        return None if self.evidence.pairing is None else self.truth(self.targets[self.known_order])


def _unshared(seen: Seen) -> Seen:
    """Copy shared values for a user-supplied attack, which may change them; all others are made for each attack."""
    recover = seen.recovered
    return replace(
        seen,
        released=copy.deepcopy(seen.released),
        examiner=copy.deepcopy(seen.examiner),
        recovered=None if recover is None else lambda: copy.deepcopy(recover()),
    )


def _given(name: str, value: Tensor | None) -> Tensor:
    if value is None:
        raise InputShapeError(f"this attack needs {name}, but there are none")
    return value
