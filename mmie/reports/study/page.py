"""Study as a table for the terminal, and as HTML page, Markdown and JSON that need no network."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from markupsafe import Markup
from rich.table import Table

from mmie.reports.charts import (
    SeedScores,
    can_draw,
    grouped_bars,
    share_curves,
    value_curves,
)
from mmie.reports.rendering import (
    html_environment,
    p_value,
    page_assets,
    percent,
    render_markdown_report,
    signed,
)
from mmie.reports.study.points import StudyKind
from mmie.reports.study.study import Study, StudyRow
from mmie.utils.files import atomic_write_texts


class StudyTexts(NamedTuple):
    """Texts of a page that depend on the kind of the study.

    Attributes:
        title: Title of the page.
        lead: Description of the runs.
        setting: Head of the column of what the study varies.
        reference: Point that differences refer to.
    """

    title: str
    lead: str
    setting: str
    reference: str


class StudySection(NamedTuple):
    """Section of a page.

    Attributes:
        title: Title of the section.
        rows: Rows of its table.
        figure: Its figure; None without matplotlib.
    """

    title: str
    rows: Sequence[StudyRow]
    figure: Markup | None


TEXTS: Mapping[StudyKind, StudyTexts] = {
    "low-resource": StudyTexts(
        title="How much training data does it need?",
        lead="Each method was trained on a share of the training split, which each seed draws "
        "anew, and tested on the whole test split.",
        setting="Share",
        reference="the largest share",
    ),
    "cross-task": StudyTexts(
        title="Does one task help the other?",
        lead="Each task was trained from its own initial weights, and from the best weights of "
        "the other task's run of the same seed, with a new head.",
        setting="Start",
        reference="own weights",
    ),
    "cross-domain": StudyTexts(
        title="Does it carry over to another corpus?",
        lead="Each method was trained on each corpus, and its best weights were tested on both.",
        setting="Training",
        reference="training on the corpus of the test",
    ),
    "ablations": StudyTexts(
        title="What does each part of the method contribute?",
        lead="Each run lacks a part of the method, as a row of the paper's ablation table.",
        setting="Row",
        reference="the full method",
    ),
    "pretraining": StudyTexts(
        title="Does pretraining help?",
        lead="The method was trained from pretrained and from random vision weights, and with and "
        "without its own pretraining if it has one.",
        setting="Start",
        reference="the pretrained method",
    ),
    "sweep-figure": StudyTexts(
        title="How does one number of the method change its score?",
        lead="Each run has another value of one setting.",
        setting="Value",
        reference="the value of the configuration",
    ),
    "crops": StudyTexts(
        title="Which crops help?",
        lead="Each run reads another number of crops, or crops of another detector.",
        setting="Crops",
        reference="the crops of the configuration",
    ),
}


def study_table(study: Study) -> Table:
    """Build a table with a row for each point, without precision and recall."""
    texts = TEXTS[study.kind]
    table = Table(title=texts.title, caption="\n".join(study.notes) or None)
    measured_names = ("corpus", "method", texts.setting.lower(), "F1", "difference", "p")
    names = (*measured_names, "published", "published difference")
    for name in names:
        table.add_column(name, overflow="fold")
    for row in study.rows:
        difference, p, published = "", "", ""
        if row.against is not None:
            difference = signed(100 * row.against.difference)
            p = p_value(row.against.p_holm)
        if row.published is not None:
            published = f"{row.published:.2f}"
        f1 = percent(row.scores["f1"])
        measured = (row.tested, row.system, row.setting, f1, difference, p)
        table.add_row(*measured, published, signed(row.published_difference))
    return table


def write_study(study: Study, folder: Path) -> list[Path]:
    """Write ``study.html``, ``study.md`` and ``study.json``.

    Args:
        study: The study.
        folder: Folder of the files, made if it does not exist.

    Returns:
        The files.

    Raises:
        OSError: A file cannot be written.
    """
    record = json.dumps(asdict(study), indent=2, ensure_ascii=False) + "\n"
    texts = {"study.html": to_html(study), "study.md": to_markdown(study), "study.json": record}
    return atomic_write_texts(folder, texts)


def to_html(study: Study) -> str:
    """Render a study as a page that holds its style, script and figures."""
    template = html_environment().get_template("study.html")
    return template.render(
        assets=page_assets("comparison.css", "comparison.js"),
        study=study,
        texts=TEXTS[study.kind],
        sections=_sections(study),
        can_draw=can_draw(),
    )


def to_markdown(study: Study) -> str:
    """Render the tables of a study as Markdown, without figures."""
    return render_markdown_report("study.md", study=study, texts=TEXTS[study.kind])


def _sections(study: Study) -> list[StudySection]:
    """Divide a study into one section for each corpus in low resource, else one for all corpora."""
    by_corpus: dict[str, list[StudyRow]] = {}
    for row in study.rows:
        by_corpus.setdefault(row.tested, []).append(row)
    if study.kind == "sweep-figure":
        figure = _draw_values(study.rows) if can_draw() else None
        return [StudySection(" and ".join(by_corpus), study.rows, figure)]
    if study.kind != "low-resource":
        figure = _draw_bars(by_corpus) if can_draw() else None
        return [StudySection(" and ".join(by_corpus), study.rows, figure)]
    sections = []
    for index, (corpus, rows) in enumerate(by_corpus.items()):
        figure = _draw_shares(rows, f"shares{index}") if can_draw() else None
        sections.append(StudySection(corpus, rows, figure))
    return sections


def _draw_bars(rows_by_corpus: Mapping[str, Sequence[StudyRow]]) -> Markup:
    """Draw a group of bars for each corpus, with a bar for each setting."""
    groups = {}
    for corpus, rows in rows_by_corpus.items():
        groups[corpus] = {row.setting: _seed_scores(row) for row in rows}
    return Markup(grouped_bars(groups, "bars"))


def _draw_shares(rows: Sequence[StudyRow], name: str) -> Markup:
    """Draw a line over the shares for each system on one corpus."""
    curves: dict[str, dict[float, SeedScores]] = {}
    for row in rows:
        curves.setdefault(row.system, {})[row.share] = _seed_scores(row)
    return Markup(share_curves(curves, name))


def _draw_values(rows: Sequence[StudyRow]) -> Markup:
    """Draw a line over the values of a sweep for each system."""
    curves: dict[str, dict[float, SeedScores]] = {}
    for row in rows:
        if row.value is not None:
            curves.setdefault(row.system, {})[row.value] = _seed_scores(row)
    setting = rows[0].setting.partition(" = ")[0]
    return Markup(value_curves(curves, setting, "values"))


def _seed_scores(row: StudyRow) -> SeedScores:
    """Return the F1 of a row as a chart shows it."""
    return SeedScores(row.scores["f1"].values, row.published)
