"""Run one attack on the bench, with several numbers of known pairs or images and in several variants."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torchprotect._inputs import type_name
from torchprotect.attacks import Attack, Measure, Need, Truth
from torchprotect.attacks.protocol import Finds
from torchprotect.attacks.results import AttackResult, as_json
from torchprotect.audit.bench.bench import Bench
from torchprotect.audit.report.finding import Finding, Point, best_number, headline
from torchprotect.audit.scoring.pictures import examples
from torchprotect.errors import InputRangeError, InputTypeError, ProtectError

_FINDS: dict[str, Finds] = {
    "class": "class",
    "identity": "identity",
    "known": "identity",
    "picture": "picture",
    "key": "key",
    "distances": "distances",
}
"""What an attack finds if its best measure is about this."""


class WrongResultError(ProtectError):
    """An attack ran, but its result cannot be scored."""


def run_attack(bench: Bench, attack: Attack, truth: Truth) -> Finding:
    """Run an attack, score its result and measure its time; of its variants, the one that leaks most counts.

    Raises:
        WrongResultError: its result does not fit its score.
        ProtectError: the attack refuses its input.
    """
    start = time.monotonic()
    found = [_run_variant(bench, attack, truth, variant) for variant in attack.variants]
    best = max(found, key=lambda each: each.leakage or 0.0)
    return replace(best, seconds=round(time.monotonic() - start, 2))


def _run_variant(bench: Bench, attack: Attack, truth: Truth, variant: Mapping[str, Any]) -> Finding:
    results, curve = dict[int, AttackResult](), dict[int, tuple[Measure, ...]]()
    for number in bench.numbers_known(attack):
        result = attack.run(bench.seen(attack, number), **variant)
        try:
            results[number] = attack.score.align(_require_result(attack, result), truth)
            curve[number] = _require_measures(attack, attack.score.measure(results[number], truth))
        except ProtectError as error:
            raise WrongResultError(str(error)) from error
    best = best_number(curve)
    images = getattr(results[best], "images", None)
    return Finding(
        attack=attack.name,
        level=attack.level,
        leaks=_leaks(attack, curve[best]),
        measures=curve[best],
        pairs=best or None,
        known="image" if Need.MEMBERS in attack.needs else "pair",
        curve=_points(curve),
        examples=() if images is None else examples(bench, images),
        facts=as_json(attack.facts(results[best])),
        cost=as_json(results[best].cost),
        settings=as_json(dict(variant)),
        note=attack.note,
        title=attack.title,
        method=attack.about,
        holder=attack.holder,
    )


def _require_result(attack: Attack, result: Any) -> AttackResult:
    """Check what an attack returns, which may be one of the user's own.

    Raises:
        InputTypeError: it is not a result, or of another kind than the attack's score takes; or its cost or facts
            cannot be written as JSON.
        InputRangeError: it is of another level than the attack.
    """
    if not isinstance(result, attack.score.result):
        raise InputTypeError(f"{attack.name} must return a {attack.score.result.__name__}, got {type_name(result)}")
    if result.level is not attack.level:
        raise InputRangeError(f"{attack.name} is of level {attack.level.value}, but its result of {result.level.value}")
    try:
        json.dumps(as_json([result.cost, attack.facts(result)]))
    except TypeError as error:
        raise InputTypeError(f"cost and facts of {attack.name} must be numbers and texts: {error}") from error
    return result


def _require_measures(attack: Attack, measures: Any) -> tuple[Measure, ...]:
    """Check what a score returns, which may be one of the user's own."""
    if not isinstance(measures, tuple) or not all(isinstance(each, Measure) for each in measures):
        raise InputTypeError(f"the score of {attack.name} must return a tuple of measures, got {type_name(measures)}")
    return measures


def _leaks(attack: Attack, measures: tuple[Measure, ...]) -> Finds:
    """Return what was found: the picture if it was measured, or else what the best measure is about."""
    if any(each.about == "picture" for each in measures):
        return "picture"
    top = headline(measures)
    return attack.finds if top is None or top.about is None else _FINDS[top.about]


def _points(curve: Mapping[int, tuple[Measure, ...]]) -> tuple[Point, ...]:
    """Return the headline of the best point at each number of pairs or images; nothing if there is only one number."""
    top = headline(curve[best_number(curve)])
    if top is None or len(curve) == 1:
        return ()
    found = {pairs: next((each for each in some if each.metric == top.metric), None) for pairs, some in curve.items()}
    return tuple(Point(pairs, measure) for pairs, measure in found.items() if measure is not None)
