"""Learning curves as SVG that stands in a page, drawn by matplotlib where it is installed."""

import importlib
import importlib.util
import io
import re
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

_INK = "#010203"
"""Drawn in this colour, which the page's own text colour then replaces, in the light and in the dark."""
_LINES = ("#3b6fb6", "#d1742f", "#3f9a5b", "#b8479a", "#8a6fd1", "#8f7a2c", "#c0504d", "#4aa3a8")
_STYLE = {
    "font.size": 10,
    "svg.fonttype": "none",  # letters stay letters: the page's font, searchable, read aloud
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}

Curves = Mapping[str, Sequence[Sequence[float | None]]]
"""For each system the validation F1 of every epoch, once for each seed."""


def can_draw() -> bool:
    """Whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def band(curves: Sequence[Sequence[float | None]]) -> list[tuple[int, float, float, float]]:
    """Epoch (from 1), mean, least and most over the seeds that were validated in it.

    >>> band([[0.25, None, 0.5], [0.75]])
    [(1, 0.5, 0.25, 0.75), (3, 0.5, 0.5, 0.5)]
    """
    points = []
    for epoch in range(max(map(len, curves), default=0)):
        values = [value for curve in curves if epoch < len(curve) and (value := curve[epoch]) is not None]
        if values:
            points.append((epoch + 1, fmean(values), min(values), max(values)))
    return points


def learning_curves(curves: Curves, name: str) -> str:
    """An ``<svg>`` element: a line a system, and a band from its worst to its best seed.

    Args:
        curves: F1 of each system, 0 to 1.
        name: Begins the ids of this chart's parts.
    """
    matplotlib = importlib.import_module("matplotlib")
    figure_class = importlib.import_module("matplotlib.figure").Figure
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = figure_class(figsize=(8, 3.6), layout="constrained")
        axes = figure.add_subplot(xlabel="epoch", ylabel="validation F1")
        for number, (system, runs) in enumerate(curves.items()):
            epochs, means, lows, highs = zip(*band(runs), strict=True)
            colour = _LINES[number % len(_LINES)]
            percents = [[100 * value for value in values] for values in (means, lows, highs)]
            axes.fill_between(epochs, percents[1], percents[2], color=colour, alpha=0.18, linewidth=0)
            dashes = ("-", "--", ":")[number // len(_LINES) % 3]
            axes.plot(epochs, percents[0], dashes, color=colour, marker="o", markersize=3, label=_plain(system))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color=_INK, alpha=0.12)
        axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
        return inline_svg(figure, name)


def inline_svg(figure: Any, name: str) -> str:  # noqa: ANN401  (matplotlib need not be installed)
    """A figure as an element that stands in a page: no declaration, no metadata, the page's own text colour.

    Args:
        figure: A figure of matplotlib.
        name: Begins every id, for ids of two charts in one page must differ.
    """
    stream = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    named = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", text[text.index("<svg") :])
    return named.replace(_INK, "currentColor")


def _plain(label: str) -> str:
    """A label that matplotlib neither hides nor reads as a formula."""
    return label.replace("$", r"\$").lstrip("_")
