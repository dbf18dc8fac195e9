"""A comparison as one HTML page that opens without a network, as Markdown, and as JSON."""

import base64
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL.Image import Image

from mmie.data.pictures import PictureError, load_picture
from mmie.methods.papers import Published
from mmie.reports.charts import can_draw, learning_curves
from mmie.reports.comparison.summary import Summary
from mmie.reports.statistics import Spread

_THUMBNAIL = 260
"""Longest side of a picture in the page, in pixels."""
_ABSENT = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_LEAST_P = 0.0001
TASK_NAMES = {"ner": "entities", "re": "relations"}
"""What each task finds."""


def write_comparison(summaries: Sequence[Summary], untested: Sequence[Path], folder: Path) -> Path:
    """Write ``comparison.html``, ``comparison.md`` and ``comparison.json``; gives the path of the page.

    Args:
        summaries: What is said of each corpus and task.
        untested: Folders of runs that were found but not tested.
        folder: Where the files go; made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    left_out = [str(path) for path in untested]
    texts = {
        "comparison.json": to_json(summaries, left_out),
        "comparison.md": to_markdown(summaries, left_out),
        "comparison.html": to_html(summaries, left_out),
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "comparison.html"


def to_json(summaries: Sequence[Summary], untested: Sequence[str] = ()) -> str:
    """All numbers of a comparison; scores from 0 to 1, published ones in percent."""
    record = {"comparisons": [_plain(summary) for summary in summaries], "untested": list(untested)}
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def _plain(summary: Summary) -> dict[str, Any]:
    """A summary as plain values, without the pages of its insights."""
    record = asdict(summary)
    for insight in record["insights"].values():
        del insight["page"]
    return record


def to_markdown(summaries: Sequence[Summary], untested: Sequence[str] = ()) -> str:
    """The tables of a comparison as Markdown, without pictures and curves."""
    environment = build_environment(False, escape_markdown)
    text = environment.get_template("comparison.md").render(summaries=summaries, untested=untested)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def to_html(summaries: Sequence[Summary], untested: Sequence[str] = ()) -> str:
    """The page: style, script, curves and pictures inside, every text from data escaped."""
    environment = build_environment(True)
    environment.filters["thumbnail"] = thumbnail
    charts = [_chart(summary, number) for number, summary in enumerate(summaries)]
    template = environment.get_template("comparison.html")
    return template.render(
        summaries=summaries, untested=untested, charts=charts, can_draw=can_draw()
    )


def thumbnail(path: str | None) -> str | None:
    """A picture as a small JPEG in a data URI; None if it cannot be read."""
    picture = small_picture(path)
    if picture is None:
        return None
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=82)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode()}"


def small_picture(path: str | None) -> Image | None:
    """A picture made small; None if it cannot be read."""
    if path is None:
        return None
    try:
        picture = load_picture(path)
    except PictureError:
        return None
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return picture


def percent(value: float | Spread | None, digits: int = 2) -> str:
    """A score, or the mean of several seeds' with their standard deviation, in percent.

    >>> percent(0.5), percent(Spread(0.5, 0.01, (0.49, 0.51))), percent(None)
    ('50.00', '50.00 ± 1.00', '–')
    """
    if isinstance(value, Spread):
        deviation = (
            "" if value.std is None else f" \N{PLUS-MINUS SIGN} {100 * value.std:.{digits}f}"
        )
        return percent(value.mean, digits) + deviation
    return _ABSENT if value is None else f"{100 * value:.{digits}f}"


def signed(value: float | None, digits: int = 2) -> str:
    """A difference, with its sign, in the unit that it is given in.

    >>> signed(-1.5), signed(0.25), signed(0.001)
    ('−1.50', '+0.25', '0.00')
    """
    if value is None:
        return _ABSENT
    rounded = round(value, digits)
    sign = "+" if rounded > 0 else _MINUS if rounded < 0 else ""
    return f"{sign}{abs(rounded):.{digits}f}"


def p_value(value: float) -> str:
    """A p-value to two digits.

    >>> p_value(0.0347), p_value(0.00009)
    ('0.035', '< 0.0001')
    """
    return f"< {_LEAST_P:.4f}" if value < _LEAST_P else f"{value:.2g}"


def number(value: float | None, digits: int = 1) -> str:
    """A number with its thousands apart.

    >>> number(1234567, 0), number(None)
    ('1,234,567', '–')
    """
    return _ABSENT if value is None else f"{value:,.{digits}f}"


def gap(measured: Spread, published: Published | None) -> float | None:
    """Measured F1 minus the published one, in percentage points; None where nothing is published."""
    return None if published is None else 100 * measured.mean - published.scores.f1


def _chart(summary: Summary, place: int) -> Markup | None:
    """Learning curves of all systems that were fitted here; None without any, or without matplotlib."""
    curves = {row.name: list(row.curves.values()) for row in summary.rows}
    known = {
        name: runs
        for name, runs in curves.items()
        if any(value is not None for run in runs for value in run)
    }
    return Markup(learning_curves(known, f"curves{place}")) if known and can_draw() else None


def _longest(curves: Mapping[int, Sequence[float | None]]) -> int:
    """Epochs of the longest curve."""
    return max(map(len, curves.values()), default=0)


def escape_markdown(value: object) -> str:
    """Text that Markdown takes as it is, in a cell of a table too."""
    return re.sub(r"([\\`*_{}\[\]<>|#])", r"\\\1", " ".join(str(value).split()))


def build_environment(
    autoescape: bool, finalize: Callable[[object], Any] | None = None
) -> Environment:
    """Templates with the filters that both share."""
    environment = Environment(
        loader=PackageLoader("mmie.reports"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=finalize,
    )
    environment.filters.update(
        percent=percent, signed=signed, p_value=p_value, number=number, longest=_longest
    )
    environment.globals.update(gap=gap, task_names=TASK_NAMES, scores=("precision", "recall", "f1"))
    return environment
