"""The page, Markdown and JSON of a comparison whose texts are hostile."""

import base64
import io
import json
import re
from dataclasses import replace

import pytest
from helpers.comparison import summary_of
from helpers.html import ParsedPage, PolicyCheck
from helpers.run_folders import (
    change_metrics,
    entity,
    prediction_line,
    write_picture_corpus,
    write_run,
)
from PIL import Image

from mmie.methods.papers import TEXT_ONLY
from mmie.reports.comparison.insight import Insight
from mmie.reports.comparison.page import published_gap, to_html, to_json, to_markdown
from mmie.reports.comparison.provenance import MissingRun, Provenance
from mmie.reports.statistics import mean_and_deviation

HOSTILE = "<script>alert('x')</script> & | `code` \"quoted\""
HOSTILE_ORIGIN = Provenance(
    date="2026-01-02 03:04 UTC",
    version="1.2.3",
    command=f"compare {HOSTILE}",
    run_versions=("1.2.2",),
    hardware=(f"hardware {HOSTILE}",),
    seeds=(1, 2),
    commands=(f"fit {HOSTILE}",),
    unrecorded=1,
    planned=3,
    missing=(MissingRun(f"missing {HOSTILE}", "not begun"),),
)


@pytest.fixture
def hostile_summary(tmp_path):
    """A summary in which every text from data is hostile, and one post has a picture."""
    Image.new("RGB", (900, 300), "teal").save(tmp_path / "there.png")
    gold = [entity(0, f"PER{HOSTILE}")]
    root = write_picture_corpus(tmp_path / "corpus", ["there.png"], tmp_path / "there.png")
    words, image = [HOSTILE, "b", "c", "d"], str(root / "there.png")
    on_corpus = {"corpus": "mmie.data.JsonlCorpus", "root": root}
    name = f"id{HOSTILE}"
    good = [
        prediction_line(name, gold, gold, words, image),
        prediction_line("2", gold, [], words),
    ]
    bad = [
        prediction_line(name, gold, [], words, image),
        prediction_line("2", gold, gold, words),
    ]
    shuffled = {"test_shuffled": {"test/f1": 0.25}}
    first = write_run(tmp_path / "a", good, text_lr=HOSTILE, **on_corpus)
    test = json.loads((first / "metrics.json").read_text())["test"]
    change_metrics(first, test={**test, "corpus_note": f"note{HOSTILE}"})
    second = write_run(tmp_path / "b", bad, text_lr=0.2, sections=shuffled, **on_corpus)
    return summary_of(first, second)


def test_the_page_is_well_formed_and_loads_nothing(hostile_summary):
    text = to_html([hostile_summary, hostile_summary], ["untested<b>"], HOSTILE_ORIGIN)
    page = ParsedPage(text)
    PolicyCheck(text)
    assert all(load.startswith("data:image/jpeg;base64,") for load in page.loads)
    assert not re.search(r"@import|url\((?!#)|https?://(?!www\.w3\.org)", text)
    assert all(picture["alt"] for picture in page.images)
    assert len(page.images) == 2
    assert page.headings[0] == 1
    following = zip(page.headings, page.headings[1:], strict=False)
    assert all(later <= earlier + 1 for earlier, later in following)
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert len(max(page.loads, key=len)) < 20_000


@pytest.mark.parametrize("corpus", ["mmie.data.JsonlCorpus", "mmie.data.DemoCorpus", "other.X"])
def test_pictures_that_the_corpus_does_not_name_are_left_out(tmp_path, corpus):
    Image.new("RGB", (90, 30), "teal").save(tmp_path / "private.png")
    root = write_picture_corpus(tmp_path / "corpus", ["a.png"], tmp_path / "private.png")
    (root / "link").symlink_to(tmp_path)
    (root / "unnamed.png").symlink_to(tmp_path / "private.png")
    gold = [entity(0, "PER")]
    names = ["../private.png", str(tmp_path / "private.png"), "link/private.png", "unnamed.png"]
    good, bad = [], []
    for number, name in enumerate([*names, "link/../private.png", "nul\0", "x" * 5000]):
        image = str(root / name)
        good.append(prediction_line(str(number), gold, gold, image=image))
        bad.append(prediction_line(str(number), gold, [], image=image))
    on_corpus = {"corpus": corpus, "root": root}
    first = write_run(tmp_path / "a", good, text_lr=0.1, **on_corpus)
    summary = summary_of(first, write_run(tmp_path / "b", bad, text_lr=0.2, **on_corpus))
    html = to_html([summary])
    assert ParsedPage(html).images == []
    assert html.count("picture left out") == len(good)
    for text in (html, to_json([summary]), to_markdown([summary])):
        assert "private" not in text
    assert any("left out" in note for note in summary.notes)
    assert summary.uniform["Picture of the post"] == "picture file not found"
    assert "Picture of the post (picture file not found)" in html


def test_every_text_from_data_is_escaped(hostile_summary):
    page = ParsedPage(to_html([hostile_summary], ["untested<b>"], HOSTILE_ORIGIN))
    assert page.tags.count("script") == 1
    shown = "".join(page.text)
    for text in (
        f"id{HOSTILE}",
        f"PER{HOSTILE}",
        f"text_lr={HOSTILE}",
        f"note{HOSTILE}",
        "untested<b>",
        f"compare {HOSTILE}",
        f"hardware {HOSTILE}",
        f"missing {HOSTILE}",
    ):
        assert text in shown


def test_markdown_tables_keep_their_columns(hostile_summary):
    text = to_markdown([hostile_summary], ["untested"], HOSTILE_ORIGIN)
    assert "<script>" not in re.sub(r"`[^`\n]*`", "", text)  # code is shown as it is
    for block in text.split("\n\n"):
        rows = [row for row in block.splitlines() if row.startswith("|")]
        columns = {re.sub(r"\\\|", "", row).count("|") for row in rows}
        assert len(columns) <= 1, block


def test_a_run_without_predictions_and_without_a_fit_is_shown(tmp_path):
    folder = write_run(tmp_path / "run", lines=None)
    change_metrics(folder, fit=None)
    summary = summary_of(folder)
    assert (summary.posts, summary.slices) == (0, ())
    assert (summary.disagreements, summary.differences) == ((), ())
    assert "50.00" in "".join(ParsedPage(to_html([summary])).text)
    assert "50.00" in to_markdown([summary])


def test_json_holds_the_numbers_without_the_pages_of_diagnoses(tmp_path):
    views = ({"name": "picture", "count": 1, "support": 0.5, "helps": 1.0, "change": 0.25},)
    insight = Insight(seed=1, count=1, views=views, page="<html></html>", notes=("left out",))
    summary = summary_of(write_run(tmp_path / "run"), explain=lambda run: insight)
    content = json.loads(to_json([summary], ["untested"]))
    assert content["untested"] == ["untested"]
    (comparison,) = content["comparisons"]
    assert comparison["notes"][-1] == "left out"
    assert comparison["insights"] == {"RAP": {"seed": 1, "count": 1, "views": list(views)}}
    assert comparison["rows"][0]["scores"]["f1"] == {"mean": 0.5, "std": None, "values": [0.5]}
    page = ParsedPage(to_html([summary]))
    assert "iframe" in page.tags
    assert "+0.500" in "".join(page.text)
    assert "left out" in page.text


def test_the_gap_is_in_percentage_points():
    published = TEXT_ONLY.published[0]
    gap = published_gap(mean_and_deviation([0.5]), published)
    assert gap == pytest.approx(50 - published.scores.f1)
    assert published_gap(mean_and_deviation([0.5]), None) is None


def in_order(text, parts):
    """Tell whether parts occur in a text one after the other."""
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


def test_a_report_opens_with_warning_verdict_and_origin(hostile_summary):
    parts = [
        "Incomplete: 2 of 3 planned runs are tested.",
        "missing ",
        hostile_summary.verdict.sentences[1],
        "2026-01-02 03:04 UTC",
        "mmie 1.2.3; the runs are of 1.2.2",
        "1, 2",
        "fit ",
        "1 run records no command",
        "compare ",
        "Published",
    ]
    page = " ".join(ParsedPage(to_html([hostile_summary], [], HOSTILE_ORIGIN)).text)
    assert in_order(page, parts)
    markdown = to_markdown([hostile_summary], [], HOSTILE_ORIGIN)
    verdict = "One seed cannot show"
    assert in_order(markdown, [*parts[:2], verdict, *parts[3:-1], "published"])
    content = json.loads(to_json([hostile_summary], [], HOSTILE_ORIGIN))
    assert content["provenance"]["missing"][0]["state"] == "not begun"
    (comparison,) = content["comparisons"]
    assert comparison["verdict"]["sentences"] == list(hostile_summary.verdict.sentences)
    assert "Incomplete" not in to_html([hostile_summary], [], replace(HOSTILE_ORIGIN, missing=()))


def test_scores_of_fewer_seeds_than_their_row_say_so(tmp_path):
    shuffled = {"test_shuffled": {"test/f1": 0.25}}
    first = write_run(tmp_path / "a", f1=0.75, seed=1, sections=shuffled)
    second = write_run(tmp_path / "b", f1=0.5, seed=2, lines=None)
    change_metrics(second, fit=None)
    summary = summary_of(first, second)
    page, markdown = to_html([summary]), to_markdown([summary])
    marked = '25.00 <small class="few">n = 1</small>'
    assert page.count(marked) == 1
    # Each type and each cost are known for one of two seeds. The scores are known for both.
    assert page.count("n = 1</small>") == 1 + 2 + 2 * 3 + 5
    assert '<td class="n best" data-value="0.625">62.50 ± 17.68</td>' in page
    assert "| 25.00 (n = 1) |" in markdown
    assert markdown.count("(n = 1)") == 1 + 2 + 5


def test_every_table_scrolls_in_its_own_box(hostile_summary):
    page = to_html([hostile_summary], [], HOSTILE_ORIGIN)
    assert page.count("<table") > 5
    assert page.count("<table") == len(re.findall(r'<div class="scroll"><table', page))


def test_pictures_can_be_enlarged_and_are_large_enough(hostile_summary):
    page = ParsedPage(to_html([hostile_summary]))
    (picture,) = page.images
    _, data = picture["src"].split(",")
    with Image.open(io.BytesIO(base64.b64decode(data))) as shown:
        assert shown.size == (640, 213)  # of 900 x 300
    assert page.tags.count("input") == 1
    label = page.tags.index("label")
    assert page.tags[label : label + 3] == ["label", "input", "img"]


def test_the_legend_of_confusions_has_the_colours_of_their_cells(tmp_path):
    html = to_html([summary_of(write_run(tmp_path / "run"))])
    # A cell with its whole row is in the legend as 100 %, in light and in dark mode.
    assert '<td class="share60">2</td>' in html
    assert '<span class="share60">100 %</span>' in html
    assert "darker" not in html
