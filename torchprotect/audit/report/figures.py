"""The chart of the page, drawn by matplotlib as SVG."""

import base64
import io
from typing import Any

from torchprotect.audit.report.finding import Finding

_INK = "#8a8f98"  # reads on white and on black
_COLOURS = ("#d1495b", "#3d7ea6", "#c98a1b", "#6a9f58", "#8b6bb1")
_MARKERS = "osD^v"


def draw_curves(findings: list[Finding], counted: str) -> str:
    """Draw leakage against the number of known pairs or images, one line per attack; return a data URI of an SVG.

    Args:
        findings: findings with curves.
        counted: what their numbers count: ``known pairs``.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    style: Any = {"svg.hashsalt": "torchprotect", "font.size": 10, "font.family": "sans-serif"}
    style |= dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), _INK)
    with rc_context(style):
        figure = Figure(figsize=(5.2, 2.7 + 0.22 * len(findings)), layout="constrained")  # a line for each name
        axes = figure.add_subplot()
        numbers = sorted({point.pairs for each in findings for point in each.curve})
        for place, each in enumerate(findings):
            known = [(point.pairs, point.measure.leakage) for point in each.curve if point.measure.leakage is not None]
            across, up = zip(*known, strict=True)
            axes.plot(
                across,
                up,
                color=_COLOURS[place % len(_COLOURS)],
                marker=_MARKERS[place % len(_MARKERS)],
                linewidth=1.8,
                markersize=5,
                linestyle="-" if each.counted else ":",
                label=each.called,
                clip_on=False,
            )
        axes.set_xscale("log")
        axes.set_xticks(numbers, [f"{each:,}" for each in numbers])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0%}"))
        axes.set_xlabel(counted)
        axes.set_ylabel("leakage")
        axes.grid(axis="y", color=_INK, alpha=0.25, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside upper left", frameon=False, handlelength=1.6)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return "data:image/svg+xml;base64," + base64.b64encode(buffer.getvalue()).decode()
