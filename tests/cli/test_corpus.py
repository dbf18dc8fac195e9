"""`mmie corpus`: the demo corpus, pairing with photographs, counts and checks."""

import json

import pytest
from helpers.command import check_refused, metrics, read_jsonl, run, succeed, write_jsonl
from helpers.fitted_runs import fit_options
from helpers.paths import CONFIGS
from helpers.pictures import write_photographs

PUBLISHED = {
    "Twitter2015": {
        "train": (4000, {"PER": 2217, "LOC": 2091, "ORG": 927, "MISC": 931}),
        "valid": (1000, {"PER": 552, "LOC": 522, "ORG": 247, "MISC": 220}),
        "test": (3257, {"PER": 1816, "LOC": 1697, "ORG": 839, "MISC": 720}),
    },
    "Twitter2017": {
        "train": (3373, {"PER": 2943, "LOC": 731, "ORG": 1674, "MISC": 701}),
        "valid": (723, {"PER": 626, "LOC": 173, "ORG": 375, "MISC": 150}),
        "test": (723, {"PER": 621, "LOC": 178, "ORG": 395, "MISC": 157}),
    },
}
"""Posts, and entities by type, of each split as published."""


@pytest.mark.parametrize("command", ["demo", "pair", "stats", "check"])
def test_the_corpus_commands_explain_their_options(command):
    assert command in succeed("corpus", "--help").out
    assert ("--root" if command == "demo" else "--corpus") in succeed(
        "corpus", command, "--help"
    ).out


def test_the_demo_corpus_is_written_checked_and_counted(tmp_path):
    root = tmp_path / "demo"
    bounds = succeed("corpus", "demo", f"--root={root}", "--train=8", "--valid=4", "--test=4").out
    assert "ner" in bounds
    assert "re" in bounds
    corpus = ["--corpus=JsonlCorpus", f"--corpus.root={root}"]
    stats = json.loads(succeed("corpus", "stats", *corpus, "--json").out)
    assert {split: counts["posts"] for split, counts in stats["splits"].items()} == {
        "train": 8,
        "valid": 4,
        "test": 4,
    }
    assert stats["splits"]["train"]["pictures"] == stats["splits"]["train"]["pictures_readable"] > 0
    table = succeed("corpus", "stats", *corpus).out
    assert all(word in table for word in ("train", "valid", "test", "posts", "PER entities"))
    assert json.loads(succeed("corpus", "check", *corpus, "--json").out)
    assert "ok" in succeed("corpus", "check", *corpus).out


def test_a_check_fails_on_missing_and_broken_pictures_and_lines(tmp_path):
    root = tmp_path / "demo"
    succeed("corpus", "demo", f"--root={root}", "--train=8", "--valid=4", "--test=4")
    corpus = ["--corpus=JsonlCorpus", f"--corpus.root={root}"]
    posts = read_jsonl(root / "train.jsonl")
    (root / posts[0]["image"]).unlink()
    (root / posts[1]["image"]).write_bytes(b"no picture")
    with (root / "train.jsonl").open("a") as stream:
        stream.write("{\n{}\n")
    outcome = run("corpus", "check", *corpus)
    assert outcome.status == 1
    assert "2 of" in outcome.out
    report = json.loads(run("corpus", "check", *corpus, "--json").out)
    assert set(report["unreadable_pictures"]) == {str(root / post["image"]) for post in posts[:2]}
    assert len(report["skipped_lines"]["train"]) == 2
    assert run("corpus", "check", *corpus, "--json").status == 1


def test_wrong_corpora_are_refused_in_one_line(tmp_path):
    check_refused(
        run("corpus", "stats", "--corpus=JsonlCorpus", "--corpus.root=/nowhere/x"),
        "/nowhere/x",
        "no such folder",
    )
    check_refused(run("corpus", "stats", "--corpus=Nope"), "Nope")
    check_refused(run("corpus", "check"), "corpus")
    check_refused(run("corpus", "demo"), "root")
    check_refused(
        run("corpus", "demo", f"--root={tmp_path / 'x'}", "--train=5"), "5", "multiple of 4"
    )
    check_refused(run("corpus", "demo", f"--root={CONFIGS}"), str(CONFIGS), "demo corpus")
    (tmp_path / "texts").mkdir()
    write_jsonl(tmp_path / "texts" / "train.jsonl", [{"id": "1", "words": []}])
    wrong = ["--corpus=JsonlCorpus", f"--corpus.root={tmp_path / 'texts'}"]
    check_refused(run("corpus", "stats", *wrong), "train.jsonl:1", "at least one word")


def pair_options(demo_root, tmp_path, *options: str) -> list[str]:
    """Return the options that pair the demo corpus with written photographs."""
    groups = ("PER", "LOC", "ORG", "MISC")
    photographs = write_photographs(tmp_path / "photographs", groups)
    corpus = ["--corpus=JsonlCorpus", f"--corpus.root={demo_root}"]
    return ["corpus", "pair", *corpus, f"--photographs={photographs}", *options]


def test_every_score_of_a_paired_corpus_has_its_note(demo_root, tmp_path):
    root, run_dir = tmp_path / "paired", tmp_path / "run"
    printed = succeed(*pair_options(demo_root, tmp_path, f"--out={root}", "--share=1")).out
    note = json.loads((root / "corpus_card.json").read_text())["note"]
    assert "not scores of JsonlCorpus" in note
    options = [*fit_options(root, run_dir), f"--model.text_encoder={demo_root / 'encoder'}"]
    printed_by = {
        "pair": printed,
        "stats": succeed("corpus", "stats", "--corpus=JsonlCorpus", f"--corpus.root={root}").out,
        "check": succeed("corpus", "check", "--corpus=JsonlCorpus", f"--corpus.root={root}").out,
        "fit": succeed("fit", *options).out,
        "validate": succeed("validate", *options).out,
        "test": succeed("test", *options).out,
        "shuffled": succeed("test", *options, "--data.pictures=shuffled").out,
        "compare": succeed("compare", run_dir, f"--out={tmp_path / 'report'}").out,
    }
    for command, text in printed_by.items():
        assert note in " ".join(text.split()), command
    sections = metrics(run_dir)
    for section in ("fit", "validate", "test", "test_shuffled"):
        assert sections[section]["corpus_note"] == note
    for name in ("comparison.html", "comparison.md", "comparison.json"):
        assert note in (tmp_path / "report" / name).read_text(encoding="utf-8")
    (row,) = json.loads((tmp_path / "report" / "comparison.json").read_text())["comparisons"][0][
        "rows"
    ]
    assert row["published"] is None


def test_wrong_pairings_are_refused_in_one_line(demo_root, tmp_path):
    options = pair_options(demo_root, tmp_path)
    check_refused(run(*options), "out")
    options.append(f"--out={tmp_path / 'out'}")
    check_refused(run(*options, "--share=2"), "share is 2")
    check_refused(run(*options, "--share=x"), "share", "float")
    check_refused(run(*options, "--task=both"), "task", "ner")
    check_refused(run(*options, "--groups={MISC: X}"), "MISC", "PER")
    check_refused(run(*options[:-1], f"--out={CONFIGS}"), str(CONFIGS), "--out")


@pytest.mark.slow
@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_entities_are_counted(shared_data, name):
    folder = shared_data / name.lower()
    stats = json.loads(
        succeed("corpus", "stats", f"--corpus={name}", f"--corpus.root={folder}", "--json").out
    )
    found = {
        split: (counts["posts"], counts["b_tags"]) for split, counts in stats["splits"].items()
    }
    assert found == PUBLISHED[name]


@pytest.mark.slow
def test_the_published_relations_are_counted(shared_data):
    folder = shared_data / "mnre"
    stats = json.loads(
        succeed("corpus", "stats", "--corpus=MNRE", f"--corpus.root={folder}", "--json").out
    )
    counts = stats["splits"]
    totals = {split: (sum(c["relations"].values()), c["pictures"]) for split, c in counts.items()}
    assert totals == {"train": (12247, 7356), "valid": (1624, 931), "test": (1614, 914)}
    assert counts["train"]["relations"]["None"] == 7744
    assert len(counts["train"]["relations"]) == 23
