"""Layout of numbers as tables, histograms and diagrams, which the templates of a page draw."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmie.utils.optional import require

FloatArray = NDArray[np.floating[Any]]
_MAX_LABELS = 9
_OTHER_LABELS = "other"
_MIN_POINTS = 8
_STEP, _GAP, _MARGIN = 150, 64, 44
"""Path diagram: distance of layers, distance of units, and margin, in pixels."""


def view_names(count: int, num_images: int = 1) -> list[str]:
    """Name the views of a post.

    >>> view_names(3)
    ['picture', 'crop 1', 'crop 2']
    >>> view_names(3, num_images=2)
    ['picture 1', 'picture 2', 'crop 1']
    """
    pictures = ["picture"] if num_images == 1 else numbered("picture", num_images)
    return [*pictures, *numbered("crop", count - num_images)]


def numbered(name: str, count: int) -> list[str]:
    """Name the entries of an axis by their number from 1.

    >>> numbered("layer", 2), numbered("", 2)
    (['layer 1', 'layer 2'], ['1', '2'])
    """
    return [f"{name} {number}".strip() for number in range(1, 1 + count)]


def heat_table(
    caption: str, rows: Sequence[str], columns: Sequence[str], values: Tensor
) -> dict[str, Any]:
    """Lay out a table of numbers whose cells are shaded relative to the largest.

    Args:
        caption: Caption of the table.
        rows: Names of the rows.
        columns: Names of the columns.
        values: (rows, columns).
    """
    top = float(values.abs().max()) if values.numel() else 0.0
    return {
        "caption": caption,
        "columns": columns,
        "rows": list(zip(rows, values.tolist(), strict=False)),
        "top": top or 1.0,
    }


def histogram(
    caption: str,
    series: Mapping[str, Sequence[float] | FloatArray],
    low: float,
    high: float,
    bins: int = 20,
) -> dict[str, Any]:
    """Compute the shares of values in equal bins, for each series.

    Args:
        caption: Caption of the histogram.
        series: Values by the name of the series; those outside the range count in the last bins.
        low: Lower end of the range.
        high: Upper end of the range.
        bins: Number of bins.

    Returns:
        ``caption``, ``low``, ``high``, ``top`` (the largest share), and ``series`` with name,
        count, mean and shares of each.
    """
    entries = []
    top = 0.0
    for name, values in series.items():
        numbers = np.asarray(values, dtype=float)
        counts, _ = np.histogram(numbers.clip(low, high), bins=bins, range=(low, high))
        shares = (counts / max(1, len(numbers))).tolist()
        mean = float(numbers.mean()) if len(numbers) else 0.0
        entries.append({"name": name, "count": len(numbers), "mean": mean, "shares": shares})
        top = max(top, *shares)
    return {"caption": caption, "low": low, "high": high, "top": top or 1.0, "series": entries}


def correlation_histogram(coefficients: Tensor) -> dict[str, Any]:
    """Compute the distribution of DGHC's correlation coefficients, (..., hidden)."""
    series = {"units": coefficients.flatten().tolist()}
    return histogram("Correlation coefficients C of text and picture", series, -1, 1)


def quantiles(values: FloatArray) -> dict[str, float]:
    """Compute the 10 %, 50 % and 90 % quantiles of values."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9)).tolist()
    return {"low": low, "middle": middle, "high": high}


def embed_in_plane(vectors: FloatArray, seed: int = 1234) -> FloatArray | None:
    """Map vectors to points in a plane by t-SNE.

    Source: van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 2008, in the
    implementation of scikit-learn.

    Args:
        vectors: (points, width).
        seed: Seed of the optimisation.

    Returns:
        (points, 2) from 0 to 1; None if the vectors are too few or all equal.

    Raises:
        MissingPackageError: scikit-learn is not installed.
    """
    manifold = require("sklearn.manifold", "report")
    if len(vectors) < _MIN_POINTS or np.ptp(vectors, axis=0).max() == 0:
        return None
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    tsne = manifold.TSNE(perplexity=perplexity, init="pca", random_state=seed)
    points = tsne.fit_transform(vectors.astype(np.float64))  # (points, 2)
    low, high = points.min(0), points.max(0)
    scaled: FloatArray = (points - low) / np.maximum(high - low, np.finfo(float).tiny)
    return scaled


def colours(labels: Sequence[str]) -> dict[str, int]:
    """Assign a colour, as a number from 0, to each label.

    The most frequent labels have a colour each, in alphabetical order, so that pages with the same
    labels use the same colours. All others share one colour.
    """
    frequent = [label for label, _ in Counter(labels).most_common(_MAX_LABELS)]
    numbers = {label: index for index, label in enumerate(sorted(frequent))}
    others = set(labels) - set(frequent)
    return {**numbers, **dict.fromkeys(others, len(frequent))}


def legend(labels: Sequence[str]) -> list[tuple[str, int]]:
    """Return the labels of all colours in `colours`, in the order of the colours."""
    entries = {}
    for label, number in colours(labels).items():
        entries[_OTHER_LABELS if number >= _MAX_LABELS else label] = number
    return sorted(entries.items(), key=lambda entry: entry[1])


def path_diagram(weights: FloatArray, units: Sequence[str]) -> dict[str, Any]:
    """Lay out units as nodes and path weights as lines, with the layers from left to right.

    Args:
        weights: (layers, units, targets). The last layer has one target.
        units: Names of the units in a layer.

    Returns:
        ``width``, ``height``, ``nodes`` (x, y, name) and ``lines`` (x1, y1, x2, y2, weight).
    """
    num_layers, num_units = len(weights), len(units)
    height = _GAP * (num_units - 1)
    columns: list[list[tuple[float, float]]] = []
    for layer in range(num_layers):
        x = _MARGIN + _STEP * layer
        columns.append([(x, _MARGIN + _GAP * unit) for unit in range(num_units)])
    output = (_MARGIN + _STEP * num_layers, _MARGIN + height / 2)
    nodes, lines = [], []
    for layer, sources in enumerate(columns):
        targets = columns[layer + 1] if layer + 1 < num_layers else [output]
        for unit, (x1, y1) in enumerate(sources):
            nodes.append({"x": x1, "y": y1, "name": units[unit]})
            for target, (x2, y2) in enumerate(targets):
                weight = float(weights[layer, unit, target])
                lines.append({"x1": x1, "y1": y1, "x2": x2, "y2": y2, "weight": weight})
    nodes.append({"x": output[0], "y": output[1], "name": "out"})
    return {
        "width": output[0] + _MARGIN,
        "height": 2 * _MARGIN + height,
        "nodes": nodes,
        "lines": lines,
    }
