"""`mmie compare`, `mmie diagnose` and `mmie methods`, with real fits through the command."""

import json
import re
import shutil

import pytest
import yaml
from helpers.browser import browse, needs_chromium
from helpers.command import metrics, run, succeed, tiny_options
from helpers.html import ParsedPage, PolicyCheck, parse_static_page
from PIL import Image

from mmie.methods import papers
from mmie.methods.papers import CORPORA, Paper
from mmie.reports.methods import listed_methods

pytestmark = pytest.mark.slow

PUBLISHED = [
    method
    for method in listed_methods()
    if method.paper and method.module.startswith("mmie.methods.")
]


@pytest.fixture(scope="module")
def compared(demo_root, tmp_path_factory):
    """Folder and outcome of `mmie compare` for two real runs on a demo corpus."""
    folder = tmp_path_factory.mktemp("compared")
    for method, epochs in (("text_only", 4), ("hvpnet", 1)):
        run_dir = folder / "runs" / method
        demo = ["--data.corpus.class_path=mmie.data.DemoCorpus", f"--trainer.max_epochs={epochs}"]
        succeed("fit", *tiny_options(method, demo_root, run_dir), *demo)
        succeed("test", f"--config={run_dir / 'config.yaml'}")
    shuffled = ["--data.pictures=shuffled", "--seed_everything=5"]
    succeed("test", f"--config={folder / 'runs' / 'hvpnet' / 'config.yaml'}", *shuffled)
    options = [f"--out={folder / 'out'}", "--resamples=500", "--diagnose=6"]
    return folder, succeed("compare", folder / "runs", *options)


def check_one_line(outcome, *parts):
    """Check that a command failed with one line that has these parts."""
    assert outcome.status in (1, 2)
    assert outcome.err.startswith("mmie: ")
    assert outcome.err.count("\n") == 1
    assert [part for part in parts if part not in outcome.err] == []


def test_two_real_runs_are_compared(compared):
    folder, outcome = compared
    out = folder / "out"
    assert outcome.out.splitlines()[-1] == str(out / "comparison.html")
    assert " F1 (1 seed), " in outcome.out  # the verdict
    for name in ("TextOnly", "HVPNet", "best possible"):
        assert name in outcome.out
    assert re.search(r"Text alone can reach [\d.]+ at most on this corpus; ", outcome.out)
    assert "TextOnly was trained and tested without pictures." in outcome.out
    content = json.loads((out / "comparison.json").read_text())
    assert content["untested"] == []
    provenance = content["provenance"]
    assert provenance["command"].startswith(f"mmie compare {folder / 'runs'} --out=")
    assert [command.split()[1] for command in provenance["commands"]] == [
        "fit",
        "test",
        "test",
        "fit",
        "test",
    ]
    assert (provenance["unrecorded"], len(provenance["hardware"])) == (0, 1)
    (comparison,) = content["comparisons"]
    assert 0 < comparison["text_bound"] < 1
    hvpnet, text_only = sorted(comparison["rows"], key=lambda row: row["name"])
    assert set(hvpnet["pictures"]) == {"right", "shuffled"}
    assert set(text_only["pictures"]) == {"none"}
    assert hvpnet["cost"]["samples_per_second"] > 0
    titles = [part["title"].split()[0] for part in comparison["slices"]]
    assert titles == ["Occurrences"]
    assert set(comparison["uniform"]) == {"Length of the post", "Picture of the post"}
    assert comparison["verdict"]["leader"] in ("HVPNet", "TextOnly")
    assert comparison["picture_losses"]["HVPNet"]["shuffled"]["p_value"] is not None
    assert list(comparison["insights"]) == ["HVPNet"]
    views = comparison["insights"]["HVPNet"]["views"]
    assert [view["name"] for view in views][:2] == ["picture", "crop 1"]
    assert views[0]["count"] <= comparison["insights"]["HVPNet"]["count"] == 6
    html = (out / "comparison.html").read_text()
    assert "Diagnosis of HVPNet" in html
    assert "&lt;!doctype html&gt;" in html
    PolicyCheck(html)
    page = ParsedPage(html)
    assert page.images
    assert "HVPNet" in (out / "comparison.md").read_text()


def test_wrong_options_of_compare_give_one_line(compared):
    for arguments, part in (
        (["nowhere"], "nowhere"),
        ([compared[0] / "runs", "--resamples=0"], "resamples"),
        ([compared[0] / "runs", "--out=pyproject.toml"], "pyproject.toml"),
        ([], "runs"),
    ):
        check_one_line(run("compare", *arguments), part)


@needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_of_a_comparison_opens_in_a_browser(compared, tmp_path, scheme):
    picture = tmp_path / f"{scheme}.png"
    options = ["--window-size=1400,4000"]
    if scheme == "dark":
        options += ["--force-dark-mode", "--enable-features=WebContentsForceDark"]
    page = compared[0] / "out" / "comparison.html"
    _, console = browse(page, tmp_path, *options, action=f"--screenshot={picture}")
    assert console == ""
    with Image.open(picture) as shown:
        assert len(shown.convert("RGB").getcolors(2**24)) > 100


def test_diagnose_writes_pages_of_a_run(demo_root, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    succeed("fit", *tiny_options("rap", demo_root, folder), "--trainer.limit_train_batches=2")
    checkpoint = f"--checkpoint={folder / 'best.ckpt'}"
    split, post = tmp_path / "new" / "split.html", tmp_path / "p.html"
    outcome = succeed("diagnose", checkpoint, "--sample=10")
    assert outcome.out.strip() == str(folder / "diagnosis.html")
    outcome = succeed("diagnose", checkpoint, "--sample=10", f"--out={split}")
    assert outcome.out.strip() == str(split)
    assert "10 instances" in split.read_text(encoding="utf-8")
    other = ["--model.init_args.prompting=false", "--trainer.limit_train_batches=2"]
    succeed("fit", *tiny_options("rap", demo_root, tmp_path / "unprompted"), *other)
    unprompted = f"--unprompted={tmp_path / 'unprompted' / 'best.ckpt'}"
    succeed("diagnose", checkpoint, unprompted, "--sample=10", f"--out={split}")
    assert "in the run without prompting" in split.read_text(encoding="utf-8")
    check_one_line(run("diagnose", checkpoint, unprompted, "--post=1"), "--unprompted", "--post")
    same = checkpoint.replace("--checkpoint", "--unprompted")
    check_one_line(run("diagnose", checkpoint, same), "--unprompted", "prompting: false")
    lines = (demo_root / "valid.jsonl").read_text(encoding="utf-8")
    known = re.findall(r'^{"id": "(.+?)"', lines, re.MULTILINE)[2]
    succeed("diagnose", checkpoint, f"--post={known}", "--split=valid", f"--out={post}")
    text = post.read_text(encoding="utf-8")
    assert f"post {known}" in text
    parse_static_page(text)
    post.write_text("notes of a user", encoding="utf-8")
    there = f"--out={post}"
    check_one_line(run("diagnose", checkpoint, "--sample=10", there), "p.html is there already")
    assert post.read_text(encoding="utf-8") == "notes of a user"
    succeed("diagnose", checkpoint, "--sample=10", there, "--overwrite")
    source = f"--out={folder / 'best.ckpt'}"
    check_one_line(run("diagnose", checkpoint, source, "--overwrite"), "is the source")
    check_one_line(run("diagnose", checkpoint, "--post=nobody"), "nobody", "has no such post")
    check_one_line(run("diagnose", checkpoint, "--split=dev"), "split", "train")
    no_root = f"--data.corpus.root={tmp_path / 'gone'}"
    check_one_line(run("diagnose", checkpoint, no_root), "gone", "no such folder")
    check_one_line(run("diagnose", "--checkpoint"), "checkpoint")
    no_folder = f"--out={folder / 'best.ckpt' / 'page.html'}"
    check_one_line(run("diagnose", checkpoint, "--sample=10", no_folder), "best.ckpt")
    config = (folder / "config.yaml").read_text(encoding="utf-8")
    outsider = "foreign_module.Corpus"
    changed = re.sub(r"(corpus:\s+class_path: )\S+", rf"\1{outsider}", config)
    assert outsider in changed
    (folder / "config.yaml").write_text(changed, encoding="utf-8")
    (tmp_path / "foreign_module.py").write_text("raise SystemExit('imported')\n")
    monkeypatch.syspath_prepend(tmp_path)
    for command in ("diagnose", "certify"):
        check_one_line(run(command, checkpoint), outsider, "imports nothing", "--data.corpus")
    own = ["--data.corpus=mmie.data.DemoCorpus", f"--data.corpus.root={demo_root}"]
    succeed("diagnose", checkpoint, "--sample=10", *own, f"--out={split}")
    (folder / "config.yaml").write_text(
        re.sub(r"(corpus:\s+class_path: )\S+", r"\1mmie.data.DemoCorpus", config)
    )
    for command in ("diagnose", "certify"):
        check_one_line(run(command, checkpoint, no_root), "gone", "writes no corpus")
    assert not (tmp_path / "gone").exists()
    (folder / "config.yaml").unlink()
    check_one_line(run("diagnose", checkpoint), "config.yaml", "--config")
    check_one_line(run("diagnose"), "checkpoint")


def test_a_run_is_certified(compared, tmp_path):
    run_dir = compared[0] / "runs" / "hvpnet"
    checkpoint = f"--checkpoint={run_dir / 'best.ckpt'}"
    small = ["--others=3", "--permutations=99", "--resamples=50"]
    out = tmp_path / "out"
    outcome = succeed("certify", checkpoint, *small, f"--out={out}")
    worth, _, _, *files = outcome.out.splitlines()
    assert worth.startswith("The right picture is worth ")
    names = ("certificate.md", "certificate.json", "answers.jsonl")
    assert files == [str(out / name) for name in names]
    content = json.loads((out / "certificate.json").read_text())
    scores = metrics(run_dir)
    assert content["total"]["f1"] == pytest.approx(scores["test"]["test/f1"])
    assert content["assignment"] == "right"
    assert len((out / "answers.jsonl").read_text().splitlines()) == content["posts"]
    # the test with shuffled pictures had the same seed
    shuffled = ["--pictures=shuffled", "--seed=5"]
    succeed("certify", checkpoint, *small, *shuffled, "--feature_store=null", f"--out={out}")
    content = json.loads((out / "certificate.json").read_text())
    assert content["total"]["f1"] == pytest.approx(scores["test_shuffled"]["test/f1"])
    assert content["assignment"] == "shuffled"


def test_reports_read_no_context_file_outside_of_the_corpus(compared, tmp_path):
    """The private file is malformed, so that every command that opens it fails."""
    private = tmp_path / "private.json"
    private.write_text('{"secret": 1}')
    run_dir = shutil.copytree(compared[0] / "runs" / "hvpnet", tmp_path / "run")
    config = yaml.safe_load((run_dir / "config.yaml").read_text())
    config["data"] |= {"use_context": True, "context_file": str(private)}
    (run_dir / "config.yaml").write_text(yaml.safe_dump(config))
    checkpoint = f"--checkpoint={run_dir / 'best.ckpt'}"
    small = ["--others=2", "--permutations=9", "--resamples=9"]
    for command, options, report in (
        ("diagnose", ["--sample=4", f"--out={tmp_path / 'page.html'}"], "page.html"),
        ("certify", [*small, f"--out={tmp_path / 'out'}"], "out/certificate.md"),
    ):
        with pytest.warns(UserWarning, match=r"file of the run is left out.*--data\.context_file"):
            succeed(command, checkpoint, *options)
        assert "the context file of the run is left out" in (tmp_path / report).read_text()
        named = f"--data.context_file={private}"
        check_one_line(run(command, checkpoint, *options, named), "private.json", "expected")
    compare = ["--diagnose=4", "--resamples=9", f"--out={tmp_path / 'comparison'}"]
    with pytest.warns(UserWarning, match="the context file of the run is left out"):
        succeed("compare", run_dir, *compare)
    for name in ("comparison.html", "comparison.md", "comparison.json"):
        text = (tmp_path / "comparison" / name).read_text()
        assert "the context file of the run is left out" in text
        assert "secret" not in text


def test_wrong_options_of_certify_give_one_line(compared):
    runs = compared[0] / "runs"
    checkpoint = f"--checkpoint={runs / 'hvpnet' / 'best.ckpt'}"
    check_one_line(run("certify"), "checkpoint")
    check_one_line(run("certify", checkpoint, "--others=1"), "others")
    check_one_line(run("certify", checkpoint, "--pictures=none"), "pictures")
    text_only = f"--checkpoint={runs / 'text_only' / 'best.ckpt'}"
    check_one_line(run("certify", text_only), "TextOnly reads no pictures")


def test_methods_are_listed_with_their_scores():
    methods = {entry["name"]: entry for entry in json.loads(succeed("methods", "--json").out)}
    ablation = methods["RAP"]["paper"]["ablations"][0]
    assert (ablation["overlay"], ablation["scores"]["MNRE"]["f1"]) == ("rap_wo_mrr", 81.45)
    assert methods["MLNetPretraining"]["paper"] is None
    assert methods["MLNetPretraining"]["url"] == papers.MLNET.url
    assert methods["HVPNet"]["class"] == "mmie.methods.HVPNet"
    table = succeed("methods").out
    assert "pretraining" in table
    for paper in vars(papers).values():
        for corpus in CORPORA if isinstance(paper, Paper) else ():
            scores = paper.score(corpus)
            assert scores is None or f"{scores.f1:.2f}" in table


def test_named_methods_are_described():
    out = " ".join(succeed("methods", "dGhC").out.split())
    for part in (
        papers.DGHC.url,
        "63.16",
        "trained on",
        "MISC",
        "38.93",
        "dghc_wo_gating.yaml",
        "73.50",
        "prompt_dim",
    ):
        assert part in out
    assert "RSRNeT" not in out
    both = succeed("methods", "rap", "rsrnet", "--json").out
    assert [entry["name"] for entry in json.loads(both)] == ["RAP", "RSRNeT"]
    out = " ".join(succeed("methods", "rsrnet").out.split())
    assert "It takes the arguments of HVPNet and MultimodalModule and" in out


@pytest.mark.parametrize("method", PUBLISHED, ids=lambda method: method.name)
def test_the_departures_of_a_method_with_a_paper_are_printed(method):
    """`mmie methods NAME` folds lines, which may part a word, so that spaces are left out."""
    printed = "".join(succeed("methods", method.name).out.split())
    departures = "".join(method.departures.split())
    assert departures
    assert f"Departuresfromthepaper{departures}" in printed


def test_an_unknown_method_gives_one_line():
    outcome = run("methods", "nope")
    assert outcome.status == 1
    assert outcome.out == ""
    check_one_line(outcome, "mmie: no method 'nope': expected one of TextOnly, HVPNet")


@pytest.mark.parametrize("command", ["diagnose", "certify"])
def test_a_run_that_is_not_there_is_named(command):
    check_one_line(run(command, "runs/nope"), "runs/nope: expected a run folder or a checkpoint")
