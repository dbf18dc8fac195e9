"""The table, page and files of a study."""

import html
import json
import re

import pytest
from helpers.html import ParsedPage, PolicyCheck
from helpers.run_folders import change_metrics
from helpers.studies import (
    TWITTER_2017,
    write_cross_domain,
    write_cross_task,
    write_low_resource,
)

from mmie.reports.charts import can_draw
from mmie.reports.study.page import TEXTS, study_table, to_html, to_markdown, write_study
from mmie.reports.study.study import summarise_study

WRITERS = {
    "low-resource": write_low_resource,
    "cross-task": write_cross_task,
    "cross-domain": write_cross_domain,
}


@pytest.fixture(params=WRITERS)
def study(request, tmp_path):
    """A study of each kind."""
    kind = request.param
    return summarise_study(kind, WRITERS[kind](tmp_path / kind), 200)


def test_the_page_is_well_formed_and_loads_nothing(study):
    text = to_html(study)
    page = ParsedPage(text)
    PolicyCheck(text)
    assert page.loads == []
    assert not re.search(r"@import|url\((?!#)|https?://(?!www\.w3\.org)", text)
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert TEXTS[study.kind].title in "".join(page.text)
    assert text.count("<svg") == can_draw()


def test_the_table_has_a_row_for_each_point(study):
    table = study_table(study)
    assert table.row_count == len(study.rows)
    settings = [row.setting for row in study.rows]
    assert list(table.columns[2].cells) == settings
    assert list(table.columns[6].cells) == [
        "" if row.published is None else f"{row.published:.2f}" for row in study.rows
    ]


def test_markdown_tables_keep_their_columns(study):
    for block in to_markdown(study).split("\n\n"):
        columns = {row.count("|") for row in block.splitlines() if row.startswith("|")}
        assert len(columns) <= 1, block


def test_low_resource_has_a_figure_for_each_corpus(tmp_path):
    sources = write_low_resource(tmp_path / "a")
    sources |= write_low_resource(tmp_path / "b", corpus=TWITTER_2017)
    text = to_html(summarise_study("low-resource", sources, 200))
    assert text.count("<svg") == 2 * can_draw()
    assert re.findall(r'<h2 id="s\d".*>(\w+), entities</h2>', text) == [
        "Twitter2015",
        "Twitter2017",
    ]


def test_three_files_are_written(study, tmp_path):
    page, markdown, record = write_study(study, tmp_path / "out")
    assert [file.name for file in (page, markdown, record)] == [
        "study.html",
        "study.md",
        "study.json",
    ]
    rows = json.loads(record.read_text(encoding="utf-8"))["rows"]
    assert [row["setting"] for row in rows] == [row.setting for row in study.rows]


def test_notes_of_the_corpus_stand_in_every_form(tmp_path):
    sources = write_low_resource(tmp_path / "dghc")
    for folder in sources:
        test = json.loads((folder / "metrics.json").read_text())["test"]
        change_metrics(folder, test={**test, "corpus_note": "These are not scores of <Twitter>."})
    study = summarise_study("low-resource", sources, 50)
    assert study.notes == ("These are not scores of <Twitter>.",)
    for file in write_study(study, tmp_path / "report"):
        text = html.unescape(file.read_text(encoding="utf-8")).replace("\\", "")
        assert "These are not scores of <Twitter>." in text
    assert study_table(study).caption == "These are not scores of <Twitter>."
