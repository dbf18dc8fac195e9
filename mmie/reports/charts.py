"""Charts as SVG elements of a page, drawn by matplotlib if it is installed."""

import importlib.util
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain
from statistics import fmean
from typing import Any, NamedTuple

import numpy as np

from mmie.utils.optional import require

_RULE_FOR_ALL = re.compile(r"<defs>\s*<style[^<>]*>\*\{([^{}<>]*)\}</style>\s*</defs>\s*")
"""Style sheet in matplotlib's SVG, whose only rule holds for all elements."""
_STYLED_TAG = re.compile(r'(<\w[^<>]*?) style="([^"]*)"')
_INK = "#010203"
"""Colour of text and axes, which is replaced by the text colour of the page (light or dark)."""
_COLOURS = ("#3b6fb6", "#d1742f", "#3f9a5b", "#b8479a", "#8a6fd1", "#8f7a2c", "#c0504d", "#4aa3a8")
_DASHES = ("-", "--", ":")
_STYLE = {
    "font.size": 10,
    # Text stays text: it takes the page's font, can be searched and can be read aloud.
    "svg.fonttype": "none",
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


class SeedScores(NamedTuple):
    """Scores that one point or bar of a chart shows.

    Attributes:
        values: F1 of each seed, 0 to 1.
        published: F1 that a paper reports, in percent; None if there is none.
    """

    values: tuple[float, ...]
    published: float | None = None


class BandPoint(NamedTuple):
    """Point of a line with a band around it.

    Attributes:
        x: Position on the x axis.
        mean: Mean over the seeds.
        low: Lowest score of a seed.
        high: Highest score of a seed.
    """

    x: float
    mean: float
    low: float
    high: float


def can_draw() -> bool:
    """Tell whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def epoch_band(curves: Sequence[Sequence[float | None]]) -> list[BandPoint]:
    """Compute mean, lowest and highest score over the seeds that were validated in an epoch.

    Args:
        curves: Scores of each seed by epoch; None for an epoch without validation.

    Returns:
        A point for each epoch with a score; the first epoch is 1.

    >>> [tuple(point) for point in epoch_band([[0.25, None, 0.5], [0.75]])]
    [(1, 0.5, 0.25, 0.75), (3, 0.5, 0.5, 0.5)]
    """
    scores: dict[int, list[float]] = {}
    for curve in curves:
        for epoch, score in enumerate(curve, start=1):
            if score is not None:
                scores.setdefault(epoch, []).append(score)
    return [_band_point(epoch, scores[epoch]) for epoch in sorted(scores)]


def learning_curves(curves: Mapping[str, Sequence[Sequence[float | None]]], name: str) -> str:
    """Draw validation F1 by epoch: a line for each system, with a band over its seeds.

    Args:
        curves: F1 of each system by seed and epoch, 0 to 1.
        name: Prefix of the ids in this chart.

    Returns:
        An ``<svg>`` element.
    """
    with _figure(name, "epoch", "validation F1") as (figure, axes):
        for index, (system, seeds) in enumerate(curves.items()):
            _draw_line(axes, index, system, epoch_band(seeds))
        axes.xaxis.get_major_locator().set_params(integer=True)
        _add_grid_and_legend(axes)
        return inline_svg(figure, name)


def share_curves(curves: Mapping[str, Mapping[float, SeedScores]], name: str) -> str:
    """Draw F1 by share of the training split: a line for each system, with a band over its seeds.

    Args:
        curves: Scores of each system by share, 0 to 1.
        name: Prefix of the ids in this chart.

    Returns:
        An ``<svg>`` element.
    """
    shares = sorted(set().union(*curves.values()))
    with _figure(name, "share of the training instances", "test F1") as (figure, axes):
        _draw_curves(axes, curves)
        # The papers' shares have about equal distances on a logarithmic axis.
        axes.set_xscale("log")
        axes.set_xticks(shares, [f"{100 * share:g} %" for share in shares])
        axes.set_xticks([], minor=True)
        _add_grid_and_legend(axes)
        return inline_svg(figure, name)


def value_curves(curves: Mapping[str, Mapping[float, SeedScores]], label: str, name: str) -> str:
    """Draw F1 by the value of one setting: a line for each system, with a band over its seeds.

    Args:
        curves: Scores of each system by value.
        label: Name of the setting.
        name: Prefix of the ids in this chart.

    Returns:
        An ``<svg>`` element.
    """
    values = sorted(set().union(*curves.values()))
    with _figure(name, label, "test F1") as (figure, axes):
        _draw_curves(axes, curves)
        axes.set_xticks(values, [f"{value:g}" for value in values])
        _add_grid_and_legend(axes)
        return inline_svg(figure, name)


def grouped_bars(groups: Mapping[str, Mapping[str, SeedScores]], name: str) -> str:
    """Draw F1 as groups of bars, with a dot for each seed and a dashed line for a published score.

    Args:
        groups: Scores of the bars of each group, by name. A name has one colour in all groups.
        name: Prefix of the ids in this chart.

    Returns:
        An ``<svg>`` element.
    """
    labels = list(dict.fromkeys(chain.from_iterable(groups.values())))
    with _figure(name, "", "test F1") as (figure, axes):
        for index, bars in enumerate(groups.values()):
            width = 0.8 / len(bars)
            for order, (label, scores) in enumerate(bars.items()):
                middle = index - 0.4 + (order + 0.5) * width
                colour = _COLOURS[labels.index(label) % len(_COLOURS)]
                _draw_bar(axes, middle, 0.9 * width, colour, label, scores)
        axes.set_xticks(range(len(groups)), [_plain_label(group) for group in groups])
        axes.set_ylim(0, 100)
        _add_grid_and_legend(axes)
        return inline_svg(figure, name)


def inline_svg(figure: Any, name: str) -> str:
    """Convert a figure to an element of a page, without XML declaration and metadata.

    The policy of a page admits no style in attributes or in a figure. Both become presentation
    attributes, which elements inherit as they inherit styles.

    Args:
        figure: A figure of matplotlib.
        name: Prefix of every id, because the ids of two charts in one page must differ.

    Returns:
        An ``<svg>`` element in the text colour of the page.
    """
    stream = io.StringIO()
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(stream, format="svg", transparent=True, metadata=no_metadata)
    text = stream.getvalue()
    element = text[text.index("<svg") :]
    element = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{name}-", element)
    rule = _RULE_FOR_ALL.search(element)
    if rule is not None:
        rest = element[: rule.start()] + element[rule.end() :]
        element = f"<svg{_presentation_attributes(rule[1])}{rest.removeprefix('<svg')}"
    element = _STYLED_TAG.sub(lambda tag: tag[1] + _presentation_attributes(tag[2]), element)
    return element.replace(_INK, "currentColor")


def _presentation_attributes(declarations: str) -> str:
    """Convert declarations of CSS to attributes of SVG, each after a space.

    Of ``font``, which older versions of matplotlib write and which is no attribute, the size stays:
    texts take the font of the page.

    >>> _presentation_attributes("fill: none; stroke-width: 0.8")
    ' fill="none" stroke-width="0.8"'
    """
    values = {}
    for declaration in declarations.split(";"):
        name, _, value = declaration.partition(":")
        if name.strip() == "font":
            name, value = "font-size", re.findall(r"[\d.]+px", value)[0]
        if value:
            values[name.strip()] = value.strip()
    return "".join(f' {name}="{value}"' for name, value in values.items())


@contextmanager
def _figure(name: str, xlabel: str, ylabel: str) -> Iterator[tuple[Any, Any]]:
    """Provide a figure and its axes, within the style that all charts are drawn and saved in."""
    matplotlib = require("matplotlib", "report")
    figure_class = require("matplotlib.figure", "report").Figure
    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        figure = figure_class(figsize=(8, 3.6), layout="constrained")
        yield figure, figure.add_subplot(xlabel=xlabel, ylabel=ylabel)


def _band_point(x: float, scores: Sequence[float]) -> BandPoint:
    """Compute mean, lowest and highest score at one position."""
    return BandPoint(x, fmean(scores), min(scores), max(scores))


def _draw_curves(axes: Any, curves: Mapping[str, Mapping[float, SeedScores]]) -> None:
    """Draw a line with its band for each system, and a diamond for each published score."""
    for index, (system, curve) in enumerate(curves.items()):
        points = [_band_point(x, curve[x].values) for x in sorted(curve)]
        colour = _draw_line(axes, index, system, points)
        for x, scores in curve.items():
            if scores.published is not None:
                label = _plain_label(f"{system}, published")
                style = {"color": colour, "markerfacecolor": "none", "label": label}
                axes.plot([x], [scores.published], "D", **style)


def _draw_line(axes: Any, index: int, label: str, points: Sequence[BandPoint]) -> str:
    """Draw a line through the means of points, and a band from their lowest to their highest.

    Returns:
        The colour of the line.
    """
    xs, means, lows, highs = np.array(points, dtype=float).T  # (points,) each
    colour = _COLOURS[index % len(_COLOURS)]
    dashes = _DASHES[index // len(_COLOURS) % len(_DASHES)]
    label = _plain_label(label)
    axes.fill_between(xs, 100 * lows, 100 * highs, color=colour, alpha=0.18, linewidth=0)
    axes.plot(xs, 100 * means, dashes, color=colour, marker="o", markersize=3, label=label)
    return colour


def _draw_bar(
    axes: Any, middle: float, width: float, colour: str, label: str, scores: SeedScores
) -> None:
    """Draw a bar up to the mean with its value, a dot for each seed, and the published score."""
    mean = 100 * fmean(scores.values)
    axes.bar(middle, mean, width, color=colour, alpha=0.5, label=_plain_label(label))
    axes.text(middle, 2, f"{mean:.2f}", ha="center", color=_INK)
    if len(scores.values) > 1:
        percents = [100 * value for value in scores.values]
        axes.plot([middle] * len(percents), percents, "o", color=colour, markersize=3)
    if scores.published is not None:
        ends = (middle - width / 2, middle + width / 2)
        heights = (scores.published, scores.published)
        axes.plot(ends, heights, "--", color=_INK, linewidth=1.2, label="published")


def _add_grid_and_legend(axes: Any) -> None:
    """Add horizontal lines, and a legend with one entry for each label."""
    axes.grid(axis="y", color=_INK, alpha=0.12)
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    axes.legend(
        entries.values(), entries, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5)
    )


def _plain_label(label: str) -> str:
    """Escape a label that matplotlib would hide (``_`` in front) or read as a formula (``$``)."""
    return label.replace("$", r"\$").lstrip("_")
