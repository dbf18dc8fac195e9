"""Numbers laid out for the pictures of a page: plain coordinates, which the page's template draws."""

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmie.data.pictures import PictureError, load_picture
from mmie.types import MmieError

Numbers = NDArray[np.floating[Any]]
_MOST_LABELS = 9
_OTHER = "other"
_FEWEST_POINTS = 8


class FigureError(MmieError, RuntimeError):
    """A library that draws is not installed."""


@cache
def picture_uri(path: Path | None, side: int) -> str | None:
    """A picture file as a data URI, its longer side at most ``side`` pixels; None where none can be read."""
    try:
        picture = None if path is None else load_picture(path)
    except PictureError:
        return None
    if picture is None:
        return None
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=80)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def view_names(count: int) -> list[str]:
    """What the views of a post are called."""
    return ["picture", *(f"crop {number}" for number in range(1, count))]


def numbered(what: str, count: int) -> list[str]:
    """``layer 1``, ``layer 2`` and so on; without a word the numbers alone."""
    return [f"{what} {number}".strip() for number in range(1, 1 + count)]


def heat(
    caption: str, rows: Sequence[str], columns: Sequence[str], values: Tensor
) -> dict[str, Any]:
    """A table (rows, columns) of numbers; shades are relative to the largest."""
    cells = values.tolist()
    top = float(values.abs().max()) if values.numel() else 0.0
    return {
        "caption": caption,
        "columns": columns,
        "rows": list(zip(rows, cells, strict=False)),
        "top": top or 1.0,
    }


def histogram(
    caption: str,
    series: Mapping[str, Sequence[float] | Numbers],
    low: float,
    high: float,
    bins: int = 20,
) -> dict[str, Any]:
    """Shares of values in equal bins, by series; values outside count at the ends.

    Returns:
        ``caption``, ``low``, ``high``, ``top`` (the largest share), and ``series``: name, count, mean, shares of each.
    """
    drawn = []
    for name, values in series.items():
        numbers = np.asarray(values, dtype=float)
        counts, _ = np.histogram(numbers.clip(low, high), bins=bins, range=(low, high))
        shares = counts / max(1, len(numbers))
        mean = float(numbers.mean()) if len(numbers) else 0.0
        drawn.append({"name": name, "count": len(numbers), "mean": mean, "shares": shares.tolist()})
    top = max((max(entry["shares"]) for entry in drawn), default=0.0)
    return {"caption": caption, "low": low, "high": high, "top": top or 1.0, "series": drawn}


def correlation_histogram(coefficients: Tensor) -> dict[str, Any]:
    """How DGHC's coefficients (..., hidden) are distributed."""
    series = {"units": coefficients.flatten().tolist()}
    return histogram("Correlation coefficients C of text and picture", series, -1, 1)


def spread(values: Numbers) -> dict[str, float]:
    """Where the middle and the bulk of some numbers lie: their 10 %, 50 % and 90 % quantiles."""
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9)).tolist()
    return {"low": low, "middle": middle, "high": high}


def embed(vectors: Numbers, seed: int = 1234) -> Numbers | None:
    """Places of vectors (points, width) in a plane by t-SNE, (points, 2) from 0 to 1; None if they are too few.

    Source: van der Maaten and Hinton, Visualizing Data using t-SNE, JMLR 2008, as scikit-learn has it.

    Raises:
        FigureError: scikit-learn is not installed.
    """
    try:
        from sklearn.manifold import TSNE
    except ImportError as error:
        raise FigureError("t-SNE needs scikit-learn: pip install 'mmie[report]'") from error
    if len(vectors) < _FEWEST_POINTS or np.ptp(vectors, axis=0).max() == 0:
        return None
    perplexity = min(30.0, (len(vectors) - 1) / 3)
    places = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(
        vectors.astype(np.float64)
    )
    low, high = places.min(0), places.max(0)
    scaled: Numbers = (places - low) / np.maximum(high - low, np.finfo(float).tiny)
    return scaled


def colours(labels: Sequence[str]) -> dict[str, int]:
    """A number for each of the most frequent labels, the same on every page of the same labels; others share one."""
    frequent = [label for label, _ in Counter(labels).most_common(_MOST_LABELS)]
    numbers = {label: place for place, label in enumerate(sorted(frequent))}
    rest = {label: len(numbers) for label in labels if label not in numbers}
    return {**numbers, **rest}


def legend(labels: Sequence[str]) -> list[tuple[str, int]]:
    """What the colours of `colours` stand for."""
    chosen = {
        _OTHER if number >= _MOST_LABELS else label: number
        for label, number in colours(labels).items()
    }
    return sorted(chosen.items(), key=lambda entry: entry[1])


def path_diagram(weights: Numbers, units: Sequence[str]) -> dict[str, Any]:
    """Units as nodes and path weights as lines, layer after layer from left to right.

    Args:
        weights: (layers, units, targets); the last layer has one target.
        units: Names of the units of a layer.

    Returns:
        ``width``, ``height``, ``nodes`` (x, y, name) and ``lines`` (x1, y1, x2, y2, weight).
    """
    layers, count = weights.shape[0], len(units)
    step, gap, margin = 150, 64, 44
    columns = [
        [(margin + step * layer, margin + gap * unit) for unit in range(count)]
        for layer in range(layers)
    ]
    end = (margin + step * layers, margin + gap * (count - 1) / 2)
    nodes = [
        {"x": x, "y": y, "name": name}
        for column in columns
        for (x, y), name in zip(column, units, strict=True)
    ]
    lines = []
    for layer, column in enumerate(columns):
        targets = columns[layer + 1] if layer + 1 < layers else [end]
        for unit, (x1, y1) in enumerate(column):
            for target, (x2, y2) in enumerate(targets):
                weight = float(weights[layer, unit, target])
                lines.append({"x1": x1, "y1": y1, "x2": x2, "y2": y2, "weight": weight})
    nodes.append({"x": end[0], "y": end[1], "name": "out"})
    return {
        "width": end[0] + margin,
        "height": 2 * margin + gap * (count - 1),
        "nodes": nodes,
        "lines": lines,
    }
