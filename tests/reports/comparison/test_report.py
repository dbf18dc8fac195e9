"""Run folders read, sorted and reported: by hand-written folders, and by two real fits through the command."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest
import yaml
from helpers.command import run, succeed, tiny_options, write_jsonl
from PIL import Image

from mmie.reports.charts import band, can_draw, inline_svg, learning_curves
from mmie.reports.comparison.groups import comparison_groups, system_names
from mmie.reports.comparison.page import p_value, percent, signed, to_html, to_markdown
from mmie.reports.comparison.summary import published_score, summarise
from mmie.reports.statistics import spread
from mmie.runs import RunError, find_runs, read_predictions, read_run
from mmie.types import Entity

NASTY = "<script>alert('x')</script> & | `code` \"quoted\""
VOID = {"meta", "img", "br", "link", "input", "hr"}


def config(
    corpus="mmie.data.Twitter2017",
    root="corpus",
    seed=1,
    method="mmie.methods.RAP",
    task="ner",
    **settings,
):
    return {
        "seed_everything": seed,
        "trainer": {"max_epochs": 2, "precision": None},
        "model": {"class_path": method, "init_args": {"text_lr": 0.1, **settings}},
        "data": {
            "corpus": {"class_path": corpus, "init_args": {"root": str(root)}},
            "task": task,
            "pictures": "right",
            "num_workers": 0,
        },
    }


def fit_section(f1=(0.25, 0.75)):
    epochs = [
        {"epoch": number, "samples": 100, "seconds": 60.0, "train_seconds": 50.0, "val/f1": value}
        for number, value in enumerate(f1)
    ]
    best = max(epochs, key=lambda epoch: epoch["val/f1"])
    return {
        "parameters": 10,
        "trained_parameters": 4,
        "peak_memory_gib": 1.5,
        "best": best,
        "epochs": epochs,
    }


def entity(start, kind):
    return {"start": start, "end": start + 1, "type": kind}


def line(name, gold, predicted, words=("Jordan", "lands", "in", "Paris"), image=None):
    return {"id": name, "words": list(words), "image": image, "gold": gold, "predicted": predicted}


GOLD = [entity(0, "PER"), entity(3, "LOC")]
LINES = {
    "good": [line("1", GOLD, GOLD), line("2", GOLD, [entity(0, "PER")])],
    "bad": [
        line("1", GOLD, [entity(0, "LOC")]),
        line("2", GOLD, [entity(0, "PER"), entity(1, "LOC")]),
    ],
}


def write_run(folder, lines=LINES["good"], f1=0.5, sections=None, **settings):
    """A run folder as `mmie` leaves it."""
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config(**settings)))
    test = {
        "test/f1": f1,
        "test/precision": f1,
        "test/recall": f1,
        "checkpoint": str(folder / "best.ckpt"),
    }
    (folder / "metrics.json").write_text(
        json.dumps({"fit": fit_section(), "test": test, **(sections or {})})
    )
    if lines is not None:
        write_jsonl(folder / "predictions.jsonl", lines)
    return folder


def summary_of(*folders, **settings):
    (group,) = comparison_groups([read_run(folder) for folder in folders])
    return summarise(group, resamples=200, **settings)


def test_a_run_says_what_training_took(tmp_path):
    found = read_run(
        write_run(tmp_path / "run", seed=7, sections={"test_shuffled": {"test/f1": 0.25}})
    )
    assert (found.method, found.corpus, found.seed, found.trained_on) == (
        "RAP",
        "Twitter2017",
        7,
        None,
    )
    assert (found.pictures, found.other_pictures) == ("right", {"shuffled": 0.25})
    assert found.fit.samples_per_second == pytest.approx(200 / 100)
    assert found.fit.minutes_to_best == pytest.approx(2)
    assert (found.fit.parameters, found.fit.trained, found.fit.curve) == (10, 4, (0.25, 0.75))
    assert found.settings["model.text_lr"] == 0.1
    assert not [name for name in found.settings if "corpus" in name or "num_workers" in name]


def test_a_run_on_another_corpus_knows_where_it_was_trained(tmp_path):
    home = write_run(tmp_path / "home", corpus="mmie.data.Twitter2015", method="mmie.methods.MLNet")
    away = write_run(tmp_path / "away", corpus="mmie.data.Twitter2017", method="mmie.methods.MLNet")
    known = json.loads((away / "metrics.json").read_text())
    del known["fit"]
    known["test"]["checkpoint"] = str(home / "best.ckpt")
    (away / "metrics.json").write_text(json.dumps(known))
    found = read_run(away)
    assert found.trained_on == "Twitter2015"
    assert found.fit is not None
    assert published_score(found)[0].scores.f1 == 66.28
    assert published_score(read_run(home))[0].scores.f1 == 76.28


def test_published_scores_are_for_methods_that_have_a_paper(tmp_path):
    published, remark = published_score(read_run(write_run(tmp_path / "a")))
    assert published.scores.f1 == 87.76
    assert "CFU" in remark
    assert published_score(read_run(write_run(tmp_path / "b", corpus="mmie.data.JsonlCorpus"))) == (
        None,
        "",
    )
    assert published_score(read_run(write_run(tmp_path / "c", method="elsewhere.Own"))) == (
        None,
        "",
    )
    assert published_score(read_run(write_run(tmp_path / "d", init_from="x.ckpt"))) == (None, "")


def test_answers_of_both_tasks_have_one_form(tmp_path):
    head, tail = entity(0, "PER"), entity(3, "LOC")
    relation = {"head": head, "tail": tail, "label": "/per/loc/at"}
    nothing = {**relation, "label": "None"}
    found = read_predictions(
        read_run(write_run(tmp_path / "re", [line("1", relation, nothing)], task="re"))
    )[0]
    assert found.gold == (Entity(0, 1, "/per/loc/at"),)
    assert found.predicted == ()
    assert found.arguments == (Entity(0, 1, "PER"), Entity(3, 4, "LOC"))
    assert read_predictions(read_run(write_run(tmp_path / "ner")))[0].gold == (
        Entity(0, 1, "PER"),
        Entity(3, 4, "LOC"),
    )


def test_folders_and_globs_are_found_and_the_untested_named(tmp_path):
    for name in ("sweep/a/seed_1", "sweep/a/seed_2", "other"):
        write_run(tmp_path / name)
    untested = write_run(tmp_path / "sweep/b")
    (untested / "metrics.json").write_text(json.dumps({"fit": fit_section()}))
    assert [run.folder.name for run in find_runs([tmp_path / "other"])[0]] == ["other"]
    runs, waiting = find_runs([tmp_path / "sweep", tmp_path / "sweep" / "a" / "seed_1"])
    assert [run.folder.name for run in runs] == ["seed_1", "seed_2"]
    assert waiting == [untested]
    assert len(find_runs([str(tmp_path / "*" / "a" / "*")])[0]) == 2
    assert len(find_runs([str(tmp_path / "**" / "seed_*")])[0]) == 2


def test_what_is_no_run_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    untested = write_run(tmp_path / "untested")
    (untested / "metrics.json").write_text("{}")
    broken = write_run(tmp_path / "broken")
    (broken / "config.yaml").write_text("[1, 2]")
    for name in ("empty", "file", "untested", "broken", "nowhere", "no*glob"):
        with pytest.raises(RunError, match="holds no tested run"):
            find_runs([str(tmp_path / name)])
    spoilt = write_run(tmp_path / "spoilt")
    (spoilt / "predictions.jsonl").write_text('{"id": "1"}\n')
    with pytest.raises(RunError, match=r"predictions\.jsonl:1: expected"):
        read_predictions(read_run(spoilt))


def test_systems_are_named_by_what_tells_them_apart(tmp_path):
    runs = [
        read_run(write_run(tmp_path / "a", seed=1)),
        read_run(write_run(tmp_path / "b", seed=2)),
        read_run(write_run(tmp_path / "c", text_lr=0.5)),
        read_run(write_run(tmp_path / "d", method="mmie.methods.IMM", text_lr=0.5)),
    ]
    assert system_names(runs) == [
        "RAP (text_lr=0.1)",
        "RAP (text_lr=0.1)",
        "RAP (text_lr=0.5)",
        "IMM",
    ]


def test_contests_are_by_corpus_and_task_and_seeds_by_system(tmp_path):
    runs = [
        read_run(write_run(tmp_path / name, **settings))
        for name, settings in {
            "a": {"seed": 1},
            "b": {"seed": 2},
            "b2": {"seed": 2},
            "c": {"task": "re", "lines": None},
            "d": {"root": "elsewhere"},
        }.items()
    ]
    found = comparison_groups(runs)
    assert [(group.task, len(group.systems)) for group in found] == [
        ("ner", 1),
        ("ner", 1),
        ("re", 1),
    ]
    assert [run.folder.name for run in found[0].systems[0].runs] == ["a", "b"]
    assert "repeats seed 2" in found[0].notes[0]
    assert "predictions.jsonl" in found[2].notes[0]


def test_answers_to_other_questions_are_not_compared(tmp_path):
    other = [line("1", GOLD[:1], GOLD), line("2", GOLD, GOLD)]
    summary = summary_of(
        write_run(tmp_path / "a"), write_run(tmp_path / "b", other, method="mmie.methods.IMM")
    )
    assert "other posts or gold" in summary.notes[0]
    assert summary.differences == ()
    assert len(summary.rows) == 2


def test_a_summary_says_what_the_answers_say(tmp_path):
    folders = [
        write_run(tmp_path / "a", LINES["good"], 0.75, seed=1),
        write_run(tmp_path / "b", LINES["good"], 0.25, seed=2),
        write_run(tmp_path / "c", LINES["bad"], 0.5, seed=2, method="mmie.methods.IMM"),
    ]
    summary = summary_of(*folders)
    rap, imm = sorted(summary.rows, key=lambda row: row.name, reverse=True)
    assert rap.scores["f1"] == spread([0.75, 0.25])
    assert imm.seeds == (2,)
    assert summary.support == {"LOC": 2, "PER": 2}
    assert rap.by_type["LOC"]["recall"].mean == 0.5
    (pair,) = summary.differences
    assert (pair.first, pair.seeds) == ("IMM", ((2, 2),))
    assert pair.difference == pytest.approx(2 * 1 / 7 - 2 * 3 / 7)
    assert summary.confusions["RAP"] == [[2, 0, 2], [0, 4, 0], [0, 0, 0]]
    length = next(part for part in summary.slices if "Length" in part.title)
    assert (length.parts, length.gold) == (("1 to 8 words",), (4,))
    assert length.f1["RAP"][0].mean == pytest.approx(6 / 7)
    assert [post.id for post in summary.disagreements] == ["1", "2"]
    assert summary.disagreements[0].missed == {"IMM": 2, "RAP": 0}
    assert any("cannot be read here" in note for note in summary.notes)


def test_entities_are_divided_by_their_occurrences_in_training_and_by_picture(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "there.png")
    posts = [{"id": "1", "words": ["JORDAN", "rests"], "entities": [entity(0, "LOC")]}]
    for split in ("train", "test"):
        write_jsonl(tmp_path / "corpus" / f"{split}.jsonl", posts)
    lines = [
        line("1", GOLD, GOLD, image=str(tmp_path / "there.png")),
        line("2", GOLD[:1], [], image=str(tmp_path / "gone.png")),
        line("3", GOLD[1:], [entity(3, "PER")]),
    ]
    run_dir = write_run(
        tmp_path / "run", lines, corpus="mmie.data.JsonlCorpus", root=tmp_path / "corpus"
    )
    slices = {part.title.split()[0]: part for part in summary_of(run_dir).slices}
    training = slices["Occurrences"]
    assert dict(zip(training.parts, training.gold, strict=True)) == {"unseen": 2, "once": 2}
    assert [found.mean for found in training.f1["RAP"]] == pytest.approx([1 / 2, 2 / 3])
    assert slices["Picture"].parts == ("picture", "picture file not found", "no picture")
    assert [found.mean for found in slices["Picture"].f1["RAP"]] == pytest.approx([1, 0, 0])


def test_a_run_without_answers_and_without_a_fit_is_shown_all_the_same(tmp_path):
    folder = write_run(tmp_path / "run", lines=None)
    known = json.loads((folder / "metrics.json").read_text())
    del known["fit"]
    (folder / "metrics.json").write_text(json.dumps(known))
    summary = summary_of(folder)
    assert (summary.posts, summary.slices, summary.disagreements, summary.differences) == (
        0,
        (),
        (),
        (),
    )
    assert "50.00" in "".join(Page(to_html([summary])).text)
    assert "50.00" in to_markdown([summary])


def test_a_pretraining_is_no_tested_run(tmp_path):
    folder = write_run(tmp_path / "run")
    (folder / "metrics.json").write_text(json.dumps({"test": {"test/loss": 1.0}}))
    with pytest.raises(RunError):
        read_run(folder)


def test_no_demo_corpus_is_written_by_looking(tmp_path):
    root = tmp_path / "demo"
    summary_of(write_run(tmp_path / "run", corpus="mmie.data.DemoCorpus", root=root))
    assert not root.exists()


class Page(HTMLParser):
    """Checks that elements are closed in order; keeps what a page loads, shows and names."""

    def __init__(self, text):
        super().__init__()
        self.open, self.loads, self.text, self.headings, self.images = [], [], [], [], []
        self.ids, self.links, self.scripts = [], [], 0
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        if tag not in VOID:
            self.open.append(tag)
        self.scripts += tag == "script"
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        self.images += [found] if tag == "img" else []
        self.ids += [found["id"]] if "id" in found else []
        self.links += [found["href"]] if tag == "a" else []
        self.loads += [found[name] for name in ("src", "data", "poster") if name in found]
        self.loads += [found["href"]] if tag == "link" else []

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture
def nasty(tmp_path):
    """A summary in which every text from data is hostile, and one post has a picture."""
    Image.new("RGB", (900, 300), "teal").save(tmp_path / "there.png")
    kind = f"PER{NASTY}"
    gold = [entity(0, kind)]
    words = [NASTY, "b", "c", "d"]
    name = f"id{NASTY}"
    image = str(tmp_path / "there.png")
    good = [line(name, gold, gold, words, image), line("2", gold, [], words)]
    bad = [line(name, gold, [], words, image), line("2", gold, gold, words)]
    return summary_of(
        write_run(tmp_path / "a", good, text_lr=NASTY),
        write_run(tmp_path / "b", bad, text_lr=0.2, sections={"test_shuffled": {"test/f1": 0.25}}),
    )


def test_the_page_is_whole_and_loads_nothing(nasty):
    text = to_html([nasty, nasty], ["untested<b>"])
    page = Page(text)
    assert all(load.startswith("data:image/jpeg;base64,") for load in page.loads)
    assert not re.search(r"@import|url\((?!#)|https?://(?!www\.w3\.org)", text)
    assert all(picture["alt"] for picture in page.images)
    assert len(page.images) == 2
    assert page.headings[0] == 1
    assert all(
        later <= earlier + 1
        for earlier, later in zip(page.headings, page.headings[1:], strict=False)
    )
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links} <= set(page.ids)
    assert len(max(page.loads, key=len)) < 20_000


def test_every_text_from_data_is_escaped(nasty):
    page = Page(to_html([nasty], ["untested<b>"]))
    assert page.scripts == 1
    shown = "".join(page.text)
    for text in (f"id{NASTY}", f"PER{NASTY}", f"text_lr={NASTY}", "untested<b>"):
        assert text in shown


def test_markdown_tables_keep_their_columns(nasty):
    text = to_markdown([nasty], ["untested"])
    assert "<script>" not in text
    blocks = re.split(r"\n\n", text)
    for block in blocks:
        counts = {
            re.sub(r"\\\|", "", row).count("|") for row in block.splitlines() if row.startswith("|")
        }
        assert len(counts) <= 1, block


def test_numbers_are_written_as_one_reads_them():
    assert percent(spread([0.5, 0.7])) == "60.00 ± 14.14"
    assert percent(spread([0.5])) == "50.00"
    assert signed(None) == "\N{EN DASH}"
    assert (signed(-0.5), signed(0.001)) == ("\N{MINUS SIGN}0.50", "0.00")
    assert (p_value(0.5), p_value(0.00002)) == ("0.5", "< 0.0001")


def test_bands_go_from_the_worst_to_the_best_seed():
    assert band([[0.5, 0.25], [0.75]]) == [(1, 0.625, 0.5, 0.75), (2, 0.25, 0.25, 0.25)]


def test_learning_curves_are_one_element_in_the_pages_colour():
    if not can_draw():
        pytest.skip("matplotlib is not installed: pip install 'mmie[report]'")
    text = learning_curves({"RAP <b> $x$": [[0.25, 0.5], [0.5, None]], "_IMM": [[0.1, 0.2]]}, "one")
    page = Page(text)
    assert text.startswith("<svg")
    assert text.count("currentColor") > 3
    assert "RAP <b> $x$" in "".join(page.text)
    assert text == learning_curves(
        {"RAP <b> $x$": [[0.25, 0.5], [0.5, None]], "_IMM": [[0.1, 0.2]]}, "one"
    )
    assert not set(page.ids) & set(Page(learning_curves({"RAP": [[0.1]]}, "two")).ids)


class DrawnFigure:
    """What a figure of matplotlib writes."""

    def savefig(self, stream, **_):
        stream.write(
            '<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "x" "http://www.w3.org/x.dtd">\n<svg><defs><clipPath id="p1"/>'
            '</defs><g id="g" clip-path="url(#p1)" style="fill: #010203"/><use xlink:href="#p1"/></svg>'
        )


def test_a_figure_becomes_an_element_with_ids_of_its_own():
    assert inline_svg(DrawnFigure(), "c0") == (
        '<svg><defs><clipPath id="c0-p1"/></defs><g id="c0-g" clip-path="url(#c0-p1)" style="fill: currentColor"/>'
        '<use xlink:href="#c0-p1"/></svg>'
    )


@pytest.fixture(scope="module")
def compared(demo_root, tmp_path_factory):
    """What `mmie compare` leaves and says of two real runs on a demo corpus."""
    folder = tmp_path_factory.mktemp("compared")
    for method, epochs in (("text_only", 4), ("hvpnet", 1)):
        demo = ["--data.corpus.class_path=mmie.data.DemoCorpus", f"--trainer.max_epochs={epochs}"]
        succeed("fit", *tiny_options(method, demo_root, folder / "runs" / method), *demo)
        succeed("test", f"--config={folder / 'runs' / method / 'config.yaml'}")
    shuffled = ["--data.pictures=shuffled", "--seed_everything=5"]
    succeed("test", f"--config={folder / 'runs' / 'hvpnet' / 'config.yaml'}", *shuffled)
    return folder, succeed(
        "compare", folder / "runs", f"--out={folder / 'out'}", "--resamples=500", "--diagnose=6"
    )


def test_two_real_runs_are_compared(compared):
    folder, outcome = compared
    assert outcome.out.splitlines()[-1] == str(folder / "out" / "comparison.html")
    for name in ("TextOnly", "HVPNet", "best possible"):
        assert name in outcome.out
    (found,) = json.loads((folder / "out" / "comparison.json").read_text())["comparisons"]
    bounds = json.loads((folder / "out" / "comparison.json").read_text())
    assert bounds["untested"] == []
    assert 0 < found["text_bound"] < 1
    hvpnet, text_only = sorted(found["rows"], key=lambda row: row["name"])
    assert set(hvpnet["pictures"]) == {"right", "shuffled"}
    assert set(text_only["pictures"]) == {"none"}
    assert hvpnet["cost"]["samples_per_second"] > 0
    assert [part["title"].split()[0] for part in found["slices"]] == [
        "Length",
        "Picture",
        "Occurrences",
    ]
    assert list(found["insights"]) == ["HVPNet"]
    views = found["insights"]["HVPNet"]["views"]
    assert [view["name"] for view in views][:2] == ["picture", "crop 1"]
    assert views[0]["count"] <= found["insights"]["HVPNet"]["count"] == 6
    html = (folder / "out" / "comparison.html").read_text()
    assert "Why HVPNet answers as it does" in html
    assert "&lt;!doctype html&gt;" in html
    page = Page(html)
    assert page.images
    assert "HVPNet" in (folder / "out" / "comparison.md").read_text()


def test_wrong_lines_are_answered_with_one(compared, tmp_path):
    for arguments, part in (
        (["nowhere"], "nowhere"),
        ([compared[0] / "runs", "--resamples=0"], "resamples"),
        ([compared[0] / "runs", "--out=pyproject.toml"], "pyproject.toml"),
        ([], "runs"),
    ):
        outcome = run("compare", *arguments)
        assert outcome.status in (1, 2)
        assert outcome.err.count("\n") == 1
        assert part in outcome.err


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_opens_in_a_browser(compared, tmp_path, scheme):
    browser = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
    )
    if browser is None:
        pytest.skip("there is no Chromium to open the page with")
    picture = tmp_path / f"{scheme}.png"
    line = [
        browser,
        "--headless",
        "--no-sandbox",
        f"--screenshot={picture}",
        "--window-size=1400,4000",
    ]
    dark = (
        ["--force-dark-mode", "--enable-features=WebContentsForceDark"] if scheme == "dark" else []
    )
    page = (compared[0] / "out" / "comparison.html").as_uri()
    subprocess.run(
        [*line, *dark, "--host-resolver-rules=MAP * ~NOTFOUND", page], check=True, timeout=60
    )
    with Image.open(picture) as shown:
        assert len(shown.convert("RGB").getcolors(2**24)) > 100
