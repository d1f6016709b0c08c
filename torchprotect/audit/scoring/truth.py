"""The truth about an evidence, for scores."""

from dataclasses import replace

from torchprotect.attacks import ClassGuesses, Level, Truth
from torchprotect.attacks.images import shrink
from torchprotect.attacks.neighbours import vote
from torchprotect.attacks.scores.classes import score_both_ways
from torchprotect.audit.bench.bench import Bench

_VOTERS = 5  # neighbours, as of the attacks


def truth_of(bench: Bench) -> Truth:
    """Return what the owner knows about the attacked images.

    If pairs are not known, labels are those that were written, which may be renamed.
    """
    evidence, attacked = bench.evidence, bench.split.attacked
    truth = Truth(
        bench.generator,
        classes=evidence.classes,
        order=evidence.order,
        correspondence=evidence.correspondence,
        embed=bench.embed,
    )
    if evidence.pairing is None:
        written = None if evidence.labels is None else evidence.labels[attacked.to(evidence.labels.device)]
        truth = replace(truth, labels=written, renamed=True)
    else:
        plain = evidence.pairing.cpu()[attacked]
        identities = evidence.identities[plain]
        truth = replace(
            truth,
            labels=None if evidence.plain_labels is None else bench.plain_labels(plain),
            images=bench.truth(bench.targets),
            identities=identities,
            known=bench.known_order,
        )
    if evidence.plain_labels is not None and evidence.classes_present > 1:
        truth = replace(truth, on_plain=_BestOnPlain(bench), examiner=bench.look)
    return truth


class _BestOnPlain:
    """The best result on plain images: of the examiner, or of a vote of the nearest public images.

    If pairs are not known, it is measured on held-out plain images.
    """

    def __init__(self, bench: Bench) -> None:
        self._bench, self._guesses = bench, dict[str, ClassGuesses]()

    def __call__(self, count: int) -> tuple[tuple[float, str], tuple[float, str]]:
        bench = self._bench
        if not self._guesses:
            self._guesses = {"nearest neighbours": self._voted(), "examiner": bench.clean_guesses}
        labels = bench.plain_labels(bench.split.clean)
        count = len(labels) if bench.evidence.pairing is None else count
        scored = {
            name: score_both_ways(replace(found, guesses=found.guesses[:count]), labels[:count])
            for name, found in self._guesses.items()
        }
        by_image, by_class = (max((score[index].accuracy, name) for name, score in scored.items()) for index in (0, 1))
        return by_image, by_class

    def _voted(self) -> ClassGuesses:
        bench = self._bench
        clean, public = bench.plain(bench.split.clean), bench.plain(bench.split.public)
        labels = bench.plain_labels(bench.split.public)
        near = vote(shrink(public)[None], labels, shrink(clean)[None], bench.evidence.classes, _VOTERS)
        return ClassGuesses(Level.PUBLIC_DATA, {"comparisons": len(clean) * len(public)}, near)
