"""What a check is, and what checks ask for."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import Tensor

from torchprotect.attacks import AttackResult, Level
from torchprotect.attacks.measures import Measure
from torchprotect.audit._bench import Bench
from torchprotect.audit._measures import of_images
from torchprotect.audit._pictures import examples
from torchprotect.audit.report.finding import Finding, Leaks, Point, best_number, headline

Reason = str | None
"""Why an attack is not run; ``None`` where it is."""


class NotApplicable(str):
    """A reason that no input removes: the attack is for another disguise, or there is nothing for it to look at."""

    __slots__ = ()


@dataclass(frozen=True)
class Check:
    """An attack as the audit runs it.

    Attributes:
        name: of the attack, as in :mod:`torchprotect.attacks`.
        level: what the attacker knows.
        reason: says why the attack does not apply to what lies on the bench, or ``None``.
        run: runs it and scores what comes out.
    """

    name: str
    level: Level
    reason: Callable[[Bench], Reason]
    run: Callable[[Bench], Finding]

    def timed(self, bench: Bench) -> Finding:
        """Run it, and note how long it took."""
        start = time.monotonic()
        found = self.run(bench)
        return replace(found, seconds=round(time.monotonic() - start, 2))


def first(*reasons: Callable[[Bench], Reason]) -> Callable[[Bench], Reason]:
    """Return what gives the first of several reasons that there is."""
    return lambda bench: next((found for each in reasons if (found := each(bench)) is not None), None)


def needs_scheme(*names: str) -> Callable[[Bench], Reason]:
    """Ask for one of some disguises, alone."""

    def reason(bench: Bench) -> Reason:
        scheme = bench.evidence.scheme
        if scheme.readable:
            return NotApplicable("the images are readable as they are")
        if scheme.other:
            composed = " and ".join((*scheme.other, scheme.name))
            return NotApplicable(f"{composed} are composed; the attack knows one disguise alone")
        if scheme.name not in names:
            return NotApplicable(f"made for {' and '.join(names)}; these images went through {scheme.name}")
        return None

    return reason


def needs_moved_blocks(bench: Bench) -> Reason:
    """Ask for blocks in a secret order."""
    if bench.evidence.scheme.permuted:
        return None
    return NotApplicable("the blocks stand at their places: there is no order to recover")


def needs_plain(bench: Bench) -> Reason:
    """Ask for plain images that go with the disguised ones."""
    evidence = bench.evidence
    if evidence.plain is None:
        return "no plain images were given (--plain)"
    if evidence.plain.shape[1:] != evidence.disguised.shape[1:]:
        came = " x ".join(map(str, evidence.plain.shape[1:]))
        wanted = " x ".join(map(str, evidence.disguised.shape[1:]))
        return f"plain images are {came}, disguised ones {wanted}: give the images as they were before the disguise"
    return None


def needs_classes(bench: Bench) -> Reason:
    """Ask for plain images with labels, and a truth to score guessed classes with."""
    evidence = bench.evidence
    if (lacking := needs_plain(bench)) is not None:
        return lacking
    if evidence.plain_labels is None:
        return "the plain images have no labels"
    if evidence.pairing is None and evidence.labels is None:
        return "no key was given (--key) and the export has no labels: nothing to score guesses with"
    return "the images have one class" if evidence.classes < 2 else None


def needs_truth(bench: Bench) -> Reason:
    """Ask for the plain image of each disguised one, for scores."""
    if (lacking := needs_plain(bench)) is not None:
        return lacking
    if bench.evidence.pairing is None:
        return "no key was given (--key): which plain image belongs to which disguised one is not known"
    return None


def needs_pairs(bench: Bench) -> Reason:
    """Ask for known pairs."""
    if (lacking := needs_truth(bench)) is not None:
        return lacking
    return None if len(bench.split.known) else "no image is left for known pairs"


def rebuild(
    bench: Bench,
    name: str,
    attack: Callable[[Tensor, Tensor, Tensor, int], AttackResult],
    pairs: list[int],
    *,
    leaks: Leaks = "picture",
    note: str = "",
) -> Finding:
    """Run an attack that rebuilds images from known pairs, for several numbers of them; the best is the headline.

    Args:
        bench: with pairs.
        name: of the attack.
        attack: takes plain, disguised, images to be attacked and the number of pairs.
        pairs: numbers of pairs, ascending.
        leaks: what it gives away.
        note: for the reader.
    """
    indices = bench.targets()
    target, results, curve = bench.disguised(indices), dict[int, AttackResult](), dict[int, tuple[Measure, ...]]()
    for count in pairs:
        results[count] = attack(*bench.pairs(count), target, count)
        curve[count] = of_images(bench, results[count], indices)
    best = best_number(curve)
    return Finding(
        attack=name,
        level=results[best].level,
        leaks=leaks,
        measures=curve[best],
        pairs=best,
        curve=points(curve),
        examples=examples(bench, results[best].images, indices),  # type: ignore[attr-defined]
        cost=results[best].cost,
        note=note,
    )


def points(curve: dict[int, tuple[Measure, ...]]) -> tuple[Point, ...]:
    """Return what the headline of the best point is at each number of pairs; nothing of one number."""
    top = headline(curve[best_number(curve)])
    assert top is not None  # noqa: S101 - attacks by pairs always have measures
    found = (next(each for each in some if each.metric == top.metric) for some in curve.values())
    return tuple(map(Point, curve, found)) if len(curve) > 1 else ()
