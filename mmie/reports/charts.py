"""Charts as SVG that stands in a page, drawn by matplotlib where it is installed."""

import importlib
import importlib.util
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any, NamedTuple

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


class Measured(NamedTuple):
    """What is drawn of one point.

    Attributes:
        values: F1 of each seed, 0 to 1.
        published: F1 that a paper reports for it, in percent; None where none does.
    """

    values: tuple[float, ...]
    published: float | None = None


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
        values = [
            value for curve in curves if epoch < len(curve) and (value := curve[epoch]) is not None
        ]
        if values:
            points.append((epoch + 1, fmean(values), min(values), max(values)))
    return points


def learning_curves(curves: Curves, name: str) -> str:
    """An ``<svg>`` element: a line a system, and a band from its worst to its best seed.

    Args:
        curves: F1 of each system, 0 to 1.
        name: Begins the ids of this chart's parts.
    """
    with _drawing(name, "epoch", "validation F1") as (figure, axes):
        for number, (system, runs) in enumerate(curves.items()):
            _draw_line(axes, number, system, band(runs))
        axes.xaxis.get_major_locator().set_params(integer=True)
        _add_legend(axes)
        return inline_svg(figure, name)


def share_lines(lines: Mapping[str, Mapping[float, Measured]], name: str) -> str:
    """An ``<svg>`` element: F1 against the share of training, a line a system with a band over its seeds.

    Args:
        lines: For each system what was measured with each share, 0 to 1.
        name: Begins the ids of this chart's parts.
    """
    shares = sorted({share for line in lines.values() for share in line})
    with _drawing(name, "share of the training instances", "test F1") as (figure, axes):
        for number, (system, line) in enumerate(lines.items()):
            points = [
                (share, fmean(line[share].values), *_ends(line[share].values))
                for share in sorted(line)
            ]
            colour = _draw_line(axes, number, system, points)
            known = [
                (share, point.published)
                for share, point in line.items()
                if point.published is not None
            ]
            for share, published in known:
                label = _plain(f"{system}, published")
                axes.plot(
                    [share], [published], "D", color=colour, markerfacecolor="none", label=label
                )
        axes.set_xscale("log")  # the papers' shares are about equally far apart so
        axes.set_xticks(shares, [f"{100 * share:g} %" for share in shares])
        axes.set_xticks([], minor=True)
        _add_legend(axes)
        return inline_svg(figure, name)


def grouped_bars(groups: Mapping[str, Mapping[str, Measured]], name: str) -> str:
    """An ``<svg>`` element: bars from 0, side by side in each group, a dot a seed, and a dash where a paper is.

    Args:
        groups: For each group its bars by name; a name has one colour in all groups.
        name: Begins the ids of this chart's parts.
    """
    names = list(dict.fromkeys(bar for bars in groups.values() for bar in bars))
    with _drawing(name, "", "test F1") as (figure, axes):
        for place, bars in enumerate(groups.values()):
            width = 0.8 / len(bars)
            for order, (bar, point) in enumerate(bars.items()):
                middle = place - 0.4 + (order + 0.5) * width
                _draw_bar(
                    axes, middle, 0.9 * width, _LINES[names.index(bar) % len(_LINES)], bar, point
                )
        axes.set_xticks(range(len(groups)), [_plain(group) for group in groups])
        axes.set_ylim(0, 100)
        _add_legend(axes)
        return inline_svg(figure, name)


def inline_svg(figure: Any, name: str) -> str:
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


@contextmanager
def _drawing(name: str, xlabel: str, ylabel: str) -> Iterator[tuple[Any, Any]]:
    """A figure and its axes, in the style of all charts while they are drawn and saved."""
    matplotlib = importlib.import_module("matplotlib")
    figure_class = importlib.import_module("matplotlib.figure").Figure
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = figure_class(figsize=(8, 3.6), layout="constrained")
        yield figure, figure.add_subplot(xlabel=xlabel, ylabel=ylabel)


def _draw_line(
    axes: Any,
    number: int,
    label: str,
    points: Sequence[tuple[float, float, float, float]],
) -> str:
    """A line through the means of points (place, mean, least, most), and a band; gives its colour."""
    places, *scores = zip(*points, strict=True)
    means, lows, highs = ([100 * value for value in values] for values in scores)
    colour = _LINES[number % len(_LINES)]
    axes.fill_between(places, lows, highs, color=colour, alpha=0.18, linewidth=0)
    dashes = ("-", "--", ":")[number // len(_LINES) % 3]
    axes.plot(places, means, dashes, color=colour, marker="o", markersize=3, label=_plain(label))
    return colour


def _draw_bar(
    axes: Any,
    middle: float,
    width: float,
    colour: str,
    label: str,
    point: Measured,
) -> None:
    """A bar as high as the mean, which it bears at its foot; a dot a seed; a dash as high as the published score."""
    mean = 100 * fmean(point.values)
    axes.bar(middle, mean, width, color=colour, alpha=0.5, label=_plain(label))
    axes.text(middle, 2, f"{mean:.2f}", ha="center", color=_INK)
    if len(point.values) > 1:
        percents = [100 * value for value in point.values]
        axes.plot([middle] * len(percents), percents, "o", color=colour, markersize=3)
    if point.published is not None:
        ends = (middle - width / 2, middle + width / 2)
        axes.plot(
            ends,
            (point.published, point.published),
            "--",
            color=_INK,
            linewidth=1.2,
            label="published",
        )


def _add_legend(axes: Any) -> None:
    """Lines across, and what each colour stands for, said once."""
    axes.grid(axis="y", color=_INK, alpha=0.12)
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    axes.legend(named.values(), named, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """The least and the most."""
    return min(values), max(values)


def _plain(label: str) -> str:
    """A label that matplotlib neither hides nor reads as a formula."""
    return label.replace("$", r"\$").lstrip("_")
