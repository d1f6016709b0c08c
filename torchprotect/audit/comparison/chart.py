"""The chart: what settings keep against what they leak, as SVG that follows the page's colours."""

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING, NamedTuple

from torchprotect.attacks import Level
from torchprotect.audit.comparison.advice import KEEPS
from torchprotect.audit.report.words import percent

if TYPE_CHECKING:
    from torchprotect.audit.comparison.comparison import Comparison

_WIDTH, _HEIGHT = 380, 336
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 366, 32, 288
_HIGHEST = 1.06  # of the leakage on the axis: points at 1 keep room for their numbers
_ROOM = 8.0  # half of what a number needs
_NEAR = 15.0  # from a point to its number, where nothing is in the way
_ANGLES = tuple(
    math.radians(each) for each in (270, 0, 90, 180, 315, 45, 225, 135, 292, 337, 22, 67, 112, 157, 202, 247)
)

STYLE = """
.chart text { font: 12px system-ui, -apple-system, "Segoe UI", sans-serif; fill: var(--soft); }
.chart text.no { font-weight: 650; fill: var(--ink); text-anchor: middle; dominant-baseline: central; }
.chart text.title { font-size: 13px; font-weight: 650; fill: var(--ink); }
.chart .grid { stroke: var(--line); }
.chart .mark { stroke: var(--soft); stroke-dasharray: 3 3; }
.chart .reach { stroke: var(--soft); opacity: .4; }
.chart .lead { stroke: var(--soft); stroke-width: .8; }
.chart .frontier { fill: none; stroke: var(--ink); stroke-width: 1.5; opacity: .65; }
.chart .point { stroke-width: 2; }
.block-permute { stroke: var(--permuted); fill: var(--permuted); }
.rmt { stroke: var(--rmt); fill: var(--rmt); }
.aes-ecb { stroke: var(--aes); fill: var(--aes); }
.chart .beaten { fill: var(--ground); }
"""
LIGHT = "--permuted: #8a6a00; --rmt: #2f6f9f; --aes: #b3405a;"
DARK = "--permuted: #d3a92c; --rmt: #6aa9d6; --aes: #ec8299;"
"""Colours of the disguises, in addition to those of the page."""

_GROUND = (
    "--ink: #1c1e21; --soft: #5a616b; --line: #dfe2e7; --ground: #ffffff;",
    "--ink: #e6e8eb; --soft: #a7aeb9; --line: #33383f; --ground: #14161a;",
)


class _Point(NamedTuple):
    """One setting on a panel, in pixels."""

    number: int
    scheme: str
    x: float
    y: float
    across: tuple[float, float]
    up: tuple[float, float]
    best: bool
    told: str


def draw_panel(comparison: "Comparison", level: Level) -> str:
    """Return one chart as an SVG element: the accuracy kept from left to right, the leakage at a level upwards.

    Numbers are those of the settings; filled points are on the frontier, which a line marks.

    Args:
        comparison: to be drawn.
        level: level of the leakage.
    """
    points, most = _points(comparison, level)
    told = "; ".join(each.told for each in points)
    title = f"Leakage at {level.value}"
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" '
        f'role="img" aria-label="{escape(f"{title} against the accuracy that a network keeps. {told}")}">'
        f'<text class="title" x="2" y="14">{title}</text>{_axes(comparison, most)}'
        f"{_frontier(points)}{_reaches(points)}{_labels(points)}{''.join(map(_mark, points))}</svg>"
    )


def draw_picture(comparison: "Comparison", level: Level) -> str:
    """Return the chart of one level as an SVG file, with colours for light and dark."""
    light, dark = (f"{ground} {own}" for ground, own in zip(_GROUND, (LIGHT, DARK), strict=True))
    style = f":root {{ {light} }} @media (prefers-color-scheme: dark) {{ :root {{ {dark} }} }} {STYLE}"
    size = f'width="{_WIDTH}" height="{_HEIGHT}"'
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {size}><style>{style}</style>'
        f'<rect {size} fill="var(--ground)"/>{draw_panel(comparison, level)}</svg>\n'
    )


def _mark(point: _Point) -> str:
    """Return the mark of a setting: shape and colour show the disguise; it is hollow if another setting beats it."""
    kind = f"{point.scheme}{'' if point.best else ' beaten'}"
    x, y = point.x, point.y
    shape = {
        "block-permute": f'<rect x="{x - 4.5:.1f}" y="{y - 4.5:.1f}" width="9" height="9"',
        "rmt": f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5"',
        "aes-ecb": f'<path d="M{x:.1f} {y - 5.8:.1f}l5.6 10h-11.2z"',
    }[point.scheme]
    return f'{shape} class="point {kind}"><title>{escape(point.told)}</title></{shape[1:].split()[0]}>'


def _points(comparison: "Comparison", level: Level) -> tuple[list[_Point], float]:
    """Return the settings that have a leakage at a level, and the largest share on the axis."""
    kept = [comparison.kept(each) for each in comparison.settings]
    most = max([1.0, *(each.high for each in kept)]) * 1.02
    frontier = comparison.frontier(level)
    points = []
    for index, each in enumerate(comparison.settings):
        leakage, ends = each.leakage(level), each.interval(level)
        if leakage is None or ends is None:
            continue
        told = f"{index + 1}, {each.setting.name}: keeps {percent(kept[index].value)}, leaks {percent(leakage)}"
        x, *across = (_LEFT + (_RIGHT - _LEFT) * share / most for share in kept[index])
        y, *up = (_height(share) for share in (leakage, *ends))
        points.append(
            _Point(
                index + 1,
                each.setting.scheme,
                *(x, y, (across[0], across[1]), (up[0], up[1])),
                best=index in frontier,
                told=told + (", on the frontier" if index in frontier else ""),
            )
        )
    return points, most


def _height(leakage: float) -> float:
    return _BOTTOM - (_BOTTOM - _TOP) * leakage / _HIGHEST


def _axes(comparison: "Comparison", most: float) -> str:
    """Return grid, ticks and axis labels, and marks for guessing and for the useful share."""
    drawn = []
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        x, y = _LEFT + (_RIGHT - _LEFT) * share / most, _height(share)
        drawn += [
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{_RIGHT}M{x:.1f} {_BOTTOM}V{_TOP}"/>',
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_whole(share)}</text>',
            f'<text x="{x:.1f}" y="{_BOTTOM + 16}" text-anchor="middle">{_whole(share)}</text>',
        ]
    for share, name in ((comparison.kept_by_guessing, "guessing"), (KEEPS, _whole(KEEPS))):
        if not 0 < share <= most:
            continue
        x = _LEFT + (_RIGHT - _LEFT) * share / most
        drawn.append(f'<path class="mark" d="M{x:.1f} {_BOTTOM}V{_TOP}"/>')
        drawn.append(f'<text x="{x:.1f}" y="{_TOP - 4}" text-anchor="middle">{name}</text>')
    middle = (_LEFT + _RIGHT) / 2
    drawn.append(
        f'<text x="{middle}" y="{_BOTTOM + 38}" text-anchor="middle">accuracy kept, of that on plain images</text>'
    )
    return "".join(drawn)


def _whole(share: float) -> str:
    return f"{share:.0%}".replace("%", " %")


def _frontier(points: Iterable[_Point]) -> str:
    """Return the line along the frontier, in steps, because nothing between two settings was measured."""
    best = sorted((each for each in points if each.best), key=lambda each: (each.x, -each.y))
    if len(best) < 2:
        return ""
    steps = "".join(f"H{each.x:.1f}V{each.y:.1f}" for each in best[1:])
    return f'<path class="frontier" d="M{best[0].x:.1f} {best[0].y:.1f}{steps}"/>'


def _reaches(points: Iterable[_Point]) -> str:
    """Return the 95 % intervals as thin lines."""
    lines = "".join(
        f"M{each.across[0]:.1f} {each.y:.1f}H{each.across[1]:.1f}M{each.x:.1f} {each.up[0]:.1f}V{each.up[1]:.1f}"
        for each in points
    )
    return f'<path class="reach" d="{lines}"/>' if lines else ""


def _labels(points: Sequence[_Point]) -> str:
    """Return the numbers, each beside its point, where it covers neither a point nor another number."""
    taken = [(each.x, each.y) for each in points]
    drawn = []
    for each in points:
        x, y = _free_place(each, taken)
        taken.append((x, y))
        if math.dist((x, y), (each.x, each.y)) > _NEAR + 1:
            drawn.append(f'<path class="lead" d="M{each.x:.1f} {each.y:.1f}L{x:.1f} {y:.1f}"/>')
        drawn.append(f'<text class="no" x="{x:.1f}" y="{y:.1f}">{each.number}</text>')
    return "".join(drawn)


def _free_place(point: _Point, taken: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Return the nearest place around a point with room for a number; of crowded ones, that with the most room."""
    places = [
        (point.x + far * math.cos(angle), point.y + far * math.sin(angle))
        for far in (_NEAR, 1.7 * _NEAR, 2.5 * _NEAR, 3.3 * _NEAR)
        for angle in _ANGLES
    ]
    inside = [
        (x, y) for x, y in places if _LEFT + _ROOM <= x <= _WIDTH - _ROOM and _TOP + _ROOM <= y <= _BOTTOM - _ROOM
    ]

    def room(place: tuple[float, float]) -> float:
        return min(math.dist(place, other) for other in taken)

    return next((place for place in inside if room(place) >= 2 * _ROOM - 3), max(inside, key=room))
