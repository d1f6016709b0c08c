"""The work of a comparison: train networks on plain images once, then measure each setting."""

import datetime
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from statistics import fmean
from typing import Any

import torch

from torchprotect._json import canonical
from torchprotect.attacks import Attack, Scheme
from torchprotect.audit.bench import facts
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.bench.pretrained import NAME
from torchprotect.audit.bench.settings import Settings
from torchprotect.audit.bench.store import Store
from torchprotect.audit.bench.trainings import trainings
from torchprotect.audit.comparison.compared import Compared, Share
from torchprotect.audit.comparison.disguised import disguise
from torchprotect.audit.comparison.images import Images
from torchprotect.audit.comparison.probe import SIDE, Probe
from torchprotect.audit.comparison.setting import Setting
from torchprotect.audit.comparison.shared import Parts, SharedBench
from torchprotect.audit.evidence.evidence import Evidence
from torchprotect.audit.report.outcome import Outcome
from torchprotect.audit.report.report import Report
from torchprotect.audit.report.utility import PLAIN_TRAINING
from torchprotect.audit.session import Progress, Session
from torchprotect.errors import InputRangeError

PROBED_IMAGES = 1000
"""Largest number of training images, and of test images, for the pretrained network."""


class Measuring:
    """All measurements of a comparison, each kept in a store once it is finished.

    A setting that was under way when the work ended starts again, under other keys.

    Args:
        images: to be disguised.
        settings: to be compared.
        effort: how much is done for each setting.
        attacks: to be run on each setting, in this order.
        store: store of finished parts.
        probe: the pretrained network; ``None`` to leave it out.
        progress: called before each step and at the end.
    """

    def __init__(
        self,
        images: Images,
        settings: Sequence[Setting],
        effort: Settings,
        attacks: Sequence[Attack],
        store: Store,
        *,
        probe: Probe | None,
        progress: Progress,
    ) -> None:
        self._images, self._settings, self._effort, self._attacks = images, settings, effort, attacks
        self._store, self._probe, self._progress = store, probe, progress
        self._titles = {each.name: each.title for each in attacks}
        self.bench = Bench(_identity_evidence(images), effort)
        self._plain: dict[str, dict[str, Any]] = {}
        self._steps = 2 * effort.trainings + len(attacks)  # of a setting
        self._total = effort.trainings + self._steps * len(settings)

    def measure_plain(self) -> tuple[Share, Share | None]:
        """Return accuracies on plain images: of the small network, and of the pretrained one."""
        todo = {name: each for name, each in trainings(self.bench).items() if name.startswith(PLAIN_TRAINING)}
        for number, (name, each) in enumerate(todo.items()):
            self._progress(f"plain images: {name}", number, self._total)
            self._plain[name] = self._load_or_compute(name, each.run)
        accuracy = fmean(each["accuracy"] for each in self._plain.values())
        probe = None
        if self._probe is not None:
            probe = self._load_or_compute(
                "plain probe", lambda: {"accuracy": self._probe_accuracy(self.bench.evidence)}
            )["accuracy"]
        return Share.of(accuracy, len(self.bench.split.clean)), self._share_of_probe(probe)

    def measure_all(self) -> tuple[Compared, ...]:
        """Return the results for each setting, after :meth:`measure_plain`."""
        found = tuple(self._measure(number, each) for number, each in enumerate(self._settings))
        self._progress("done", self._total, self._total)
        return found

    @property
    def chance(self) -> float:
        """Share of the most frequent class among the images that networks are tested on."""
        labels = self.bench.plain_labels(self.bench.split.clean)
        return float(labels.bincount().max()) / len(labels)

    def facts(self) -> dict[str, Any]:
        """Return the data, settings and environment of the comparison, for JSON."""
        split, images, evidence = self.bench.split, self._images, self.bench.evidence
        probed = [min(PROBED_IMAGES, len(each)) for each in (split.others, split.attacked)]
        trained = min(self._effort.train_images, len(split.others), len(split.public))
        return {
            "environment": facts.environment_facts(self.bench),
            "effort": asdict(self._effort) | {"epochs": self._effort.epochs_over(trained)},
            "data": {
                "images": len(images.plain),
                "images_in_source": images.in_source,
                "image_size": list(images.size),
                "channels": images.plain.shape[1],
                "classes": evidence.classes_present,
                "base_rates": facts.data_facts(evidence)["base_rates"],
                "duplicates": evidence.duplicates,
                "sha256": images.digest,
            },
            "split": facts.split_facts(self.bench),
            "trained": trained,
            "probe": self._probe and {"network": NAME, "pixels": SIDE, "trained": probed[0], "tested": probed[1]},
        }

    def _measure(self, number: int, setting: Setting) -> Compared:
        """Measure one setting, or take it from the store."""
        first = self._effort.trainings + self._steps * number
        self._progress(setting.name, first, self._total)

        def tell(name: str, done: int, total: int) -> None:
            if done < total:
                self._progress(f"{setting.name}: {self._titles.get(name, name)}", first + done, self._total)

        described = hashlib.sha256(canonical(setting.to_dict())).hexdigest()[:16]
        return Compared.from_dict(self._load_or_compute(f"setting {described}", partial(self._measured, setting, tell)))

    def _measured(self, setting: Setting, tell: Progress) -> dict[str, Any]:
        start = time.process_time()
        evidence, cost = disguise(setting, self._images)
        bench = SharedBench(evidence, self._effort, self.bench)
        session = Session(bench, self._attacks, Parts(self._plain), tell)
        report = session.finish(datetime.datetime.now(datetime.timezone.utc), time.monotonic())
        accuracy = Share.of(_accuracy(setting, report), len(bench.split.attacked))
        probe = None if self._probe is None else self._share_of_probe(self._probe_accuracy(bench.evidence))
        outcome = Outcome(report.findings, report.not_run, None)
        return Compared(setting, accuracy, probe, outcome, cost, round(time.process_time() - start, 1)).to_dict()

    def _probe_accuracy(self, evidence: Evidence) -> float:
        """Return the accuracy of the pretrained network on images of one kind, by the labels as written."""
        assert self._probe is not None  # noqa: S101 - asked for by the callers; tells the type checker
        assert evidence.labels is not None  # noqa: S101 - every image has one
        train, test = (each[:PROBED_IMAGES] for each in (self.bench.split.others, self.bench.split.attacked))
        kinds = [(evidence.disguised[each], evidence.labels[each]) for each in (train, test)]
        return self._probe.accuracy(kinds[0], kinds[1], evidence.classes, self.bench.generator("probe"))

    def _share_of_probe(self, accuracy: float | None) -> Share | None:
        tested = min(PROBED_IMAGES, len(self.bench.split.attacked))
        return None if accuracy is None else Share.of(accuracy, tested)

    def _load_or_compute(self, name: str, work: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Take a part from the store, or compute it and keep it there."""
        found = self._store.load(name)
        if found is None:
            found = work()
            self._store.save(name, found)
        return found


def _identity_evidence(images: Images) -> Evidence:
    """Return images with a disguise that does nothing; networks reach the plain accuracy on them."""
    return Evidence(
        images.plain,
        Scheme("plain"),
        labels=images.labels,
        plain=images.plain,
        plain_labels=images.labels,
        pairing=torch.arange(len(images.plain)),
    )


def _accuracy(setting: Setting, report: Report) -> float:
    if report.utility is None or not report.utility.disguised:
        reasons = "; ".join(each.reason for each in report.not_run if each.cause == "refused")
        raise InputRangeError(f"{setting.name}: no network could be trained on these images: {reasons}")
    return fmean(report.utility.disguised)
