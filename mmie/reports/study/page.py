"""A study as a table for the terminal, as one HTML page that opens without a network, as Markdown, and as JSON."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup
from rich.table import Column, Table

from mmie.reports.charts import Measured, can_draw, grouped_bars, share_lines
from mmie.reports.comparison.page import (
    build_environment,
    escape_markdown,
    p_value,
    percent,
    signed,
)
from mmie.reports.statistics import Difference
from mmie.reports.study.study import Kind, Row, Study


class Words(NamedTuple):
    """What a study is called.

    Attributes:
        title: The page's title.
        lead: What was done.
        setting: Head of the column of what it varies.
        against: What a difference is to.
    """

    title: str
    lead: str
    setting: str
    against: str


WORDS: Mapping[Kind, Words] = {
    "low-resource": Words(
        "How much training data does it need?",
        "Each method was trained on a share of the training split, drawn anew by each seed, and tested on the whole "
        "test split.",
        "Share",
        "the largest share",
    ),
    "cross-task": Words(
        "Does one task help the other?",
        "Each task was trained from its own first weights, and from the best weights of the other task's run of the "
        "same seed, with a new head.",
        "Start",
        "own weights",
    ),
    "cross-domain": Words(
        "Does it carry over to another corpus?",
        "Each method was trained on each corpus, and its best weights tested on both.",
        "Training",
        "training on the corpus of the test",
    ),
}


def render_study(study: Study) -> Table:
    """A row a point, for the terminal; precision and recall are in the files."""
    words = WORDS[study.kind]
    names = ("corpus", "method", words.setting.lower(), "F1", "difference", "p", "published")
    table = Table(*(Column(name, overflow="fold") for name in names), title=words.title)
    for row in study.rows:
        published = "" if row.published is None else f"{row.published:.2f}"
        table.add_row(
            row.tested,
            row.system,
            row.setting,
            percent(row.scores["f1"]),
            *_told(row.against),
            published,
        )
    return table


def _told(against: Difference | None) -> tuple[str, str]:
    """A difference in points, and its p-value."""
    return (
        ("", "") if against is None else (signed(100 * against.difference), p_value(against.p_holm))
    )


def write_study(study: Study, folder: Path) -> list[Path]:
    """Write ``study.html``, ``study.md`` and ``study.json``; gives their paths.

    Args:
        study: The study.
        folder: Where the files go; made if need be.
    """
    folder.mkdir(parents=True, exist_ok=True)
    record = json.dumps(asdict(study), indent=2, ensure_ascii=False) + "\n"
    texts = {"study.html": to_html(study), "study.md": to_markdown(study), "study.json": record}
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def to_html(study: Study) -> str:
    """The page: style, script and figures inside, every text from data escaped."""
    template = build_environment(True).get_template("study.html")
    return template.render(
        study=study, words=WORDS[study.kind], sections=_sections(study), can_draw=can_draw()
    )


def to_markdown(study: Study) -> str:
    """The tables of a study as Markdown, without figures."""
    template = build_environment(False, escape_markdown).get_template("study.md")
    text = template.render(study=study, words=WORDS[study.kind])
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _sections(study: Study) -> list[tuple[str, Sequence[Row], Markup | None]]:
    """Title, rows and figure of each section: one a corpus for low resource, else one for both corpora."""
    tested = list(dict.fromkeys(row.tested for row in study.rows))
    if study.kind != "low-resource":
        groups = {name: _bars([row for row in study.rows if row.tested == name]) for name in tested}
        return [
            (
                " and ".join(tested),
                study.rows,
                Markup(grouped_bars(groups, "bars")) if can_draw() else None,
            )
        ]
    sections: list[tuple[str, Sequence[Row], Markup | None]] = []
    for number, name in enumerate(tested):
        rows = [row for row in study.rows if row.tested == name]
        figure = Markup(share_lines(_lines(rows), f"shares{number}")) if can_draw() else None
        sections.append((name, rows, figure))
    return sections


def _bars(rows: Sequence[Row]) -> dict[str, Measured]:
    """The bars of one corpus."""
    return {row.setting: Measured(row.scores["f1"].values, row.published) for row in rows}


def _lines(rows: Sequence[Row]) -> dict[str, dict[float, Measured]]:
    """The line of each system of one corpus."""
    lines: dict[str, dict[float, Measured]] = {}
    for row in rows:
        lines.setdefault(row.system, {})[row.share] = Measured(
            row.scores["f1"].values, row.published
        )
    return lines
