"""Comparison as one HTML page that needs no network, as Markdown, and as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from itertools import chain
from pathlib import Path

from markupsafe import Markup

from mmie.methods.papers import Published
from mmie.reports.charts import can_draw, learning_curves
from mmie.reports.comparison.provenance import Provenance
from mmie.reports.comparison.summary import Summary
from mmie.reports.pictures import picture_data_uri
from mmie.reports.rendering import (
    diagnosis_assets,
    html_environment,
    page_assets,
    render_markdown_report,
)
from mmie.reports.statistics import MeanAndDeviation
from mmie.utils.files import atomic_write_texts

_PICTURE_SIDE = 640
"""Longest side of a picture in the page, in pixels: large enough to be enlarged."""


def write_comparison(
    summaries: Sequence[Summary], untested: Sequence[Path], provenance: Provenance, folder: Path
) -> Path:
    """Write ``comparison.json``, ``comparison.md`` and ``comparison.html``.

    Args:
        summaries: Summary of each corpus and task.
        untested: Folders of runs that were not tested.
        provenance: Origin of the comparison.
        folder: Folder of the files, made if it does not exist.

    Returns:
        The HTML page.

    Raises:
        OSError: A file cannot be written.
    """
    untested_names = [str(path) for path in untested]
    texts = {
        "comparison.json": to_json(summaries, untested_names, provenance),
        "comparison.md": to_markdown(summaries, untested_names, provenance),
        "comparison.html": to_html(summaries, untested_names, provenance),
    }
    return atomic_write_texts(folder, texts)[-1]


def to_json(
    summaries: Sequence[Summary],
    untested: Sequence[str] = (),
    provenance: Provenance | None = None,
) -> str:
    """Render all numbers of a comparison as JSON, without the pages of its diagnoses.

    Scores are from 0 to 1, published ones in percent.
    """
    comparisons = []
    for summary in summaries:
        record = asdict(summary)
        for insight in record["insights"].values():
            del insight["page"], insight["notes"]  # the notes are among those of the summary
        comparisons.append(record)
    content = {
        "comparisons": comparisons,
        "untested": list(untested),
        "provenance": None if provenance is None else asdict(provenance),
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def to_markdown(
    summaries: Sequence[Summary],
    untested: Sequence[str] = (),
    provenance: Provenance | None = None,
) -> str:
    """Render the tables of a comparison as Markdown, without pictures and curves."""
    return render_markdown_report(
        "comparison.md",
        summaries=summaries,
        untested=untested,
        provenance=provenance,
        published_gap=published_gap,
    )


def to_html(
    summaries: Sequence[Summary],
    untested: Sequence[str] = (),
    provenance: Provenance | None = None,
) -> str:
    """Render a comparison as a page that holds its style, script, curves and pictures.

    Without a provenance, the page does not say how it was made.
    """
    environment = html_environment()
    thumbnail = partial(picture_data_uri, side=_PICTURE_SIDE)
    environment.filters["thumbnail"] = thumbnail
    template = environment.get_template("comparison.html")
    charts = [_draw_curves(summary, index) for index, summary in enumerate(summaries)]
    return template.render(
        assets=page_assets("comparison.css", "comparison.js", (diagnosis_assets().style,)),
        summaries=summaries,
        untested=untested,
        provenance=provenance,
        charts=charts,
        can_draw=can_draw(),
        published_gap=published_gap,
    )


def published_gap(measured: MeanAndDeviation, published: Published | None) -> float | None:
    """Return measured minus published F1 in percentage points, None without a published score."""
    return None if published is None else 100 * measured.mean - published.scores.f1


def _draw_curves(summary: Summary, index: int) -> Markup | None:
    """Draw the learning curves of all systems that have validation scores.

    Args:
        summary: The summary.
        index: Number of the summary in the page.

    Returns:
        An ``<svg>`` element; None without any scores, or without matplotlib.
    """
    curves = {}
    for row in summary.rows:
        scores = chain.from_iterable(row.curves.values())
        if any(score is not None for score in scores):
            curves[row.name] = list(row.curves.values())
    if not curves or not can_draw():
        return None
    return Markup(learning_curves(curves, f"curves{index}"))
