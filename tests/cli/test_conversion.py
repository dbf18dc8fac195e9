"""`mmie convert` and `mmie corpus split`: formats in and out, and what is said about them."""

import csv
import json

import pytest
from helpers.command import check_refused, read_jsonl, run, succeed
from helpers.formats import ANN, BRAT_ANN, BRAT_TEXT, CONLL_2003, JORDAN, LAYOUTS, write_text


def test_another_format_becomes_a_corpus_and_is_described(tmp_path):
    source = write_text(tmp_path / "train.txt", CONLL_2003 + "\nodd NNP B-NP\n" * 1)
    out = tmp_path / "corpus" / "train.jsonl"
    outcome = succeed("convert", source, "--out", out, "--from", "conll", "--columns", "tags=4")
    assert outcome.out == f"{out}\n"
    assert [line["words"] for line in read_jsonl(out)][1] == ["It", "rains"]
    lines = outcome.err.splitlines()
    assert lines[0] == (
        f"{source}: read as conll: words in column 1, tags in column 4 of 4 (IOB1), "
        "separated by blanks"
    )
    assert lines[1].startswith("1 posts could not be read, see ")
    assert "the first, line 12: expected 4 columns" in lines[1]
    assert lines[2] == "not used: 1 marks of documents (-DOCSTART-)"
    assert lines[3] == f"{out}: 2 posts, 3 entities (LOC 2, PER 1), 0 relations"
    assert len(read_jsonl(out.with_name("train.errors.jsonl"))) == 1


def test_the_format_is_told_by_suffix_or_name(tmp_path):
    source = write_text(tmp_path / "posts.jsonl", f"{json.dumps(ANN)}\n{json.dumps(JORDAN)}\n")
    names = ("a.conll", "b.csv", "c.tsv", "d.json", "e.html", "f.jsonl")
    out = [tmp_path / name for name in names]
    succeed("convert", source, "--out", *out)
    with out[1].open(newline="") as stream:
        assert next(csv.reader(stream))[:2] == ["post", "head"]
    assert out[2].read_text().startswith('"id"\t"text"\t"words"')
    assert read_jsonl(out[5]) == [ANN, JORDAN]
    succeed("convert", source, "--to", "brat", "--out", tmp_path / "brat")
    assert (tmp_path / "brat" / "a.ann").read_text().startswith("T1\tPER 0 7\tAnn Lee\n")
    again = tmp_path / "again.jsonl"
    succeed("convert", tmp_path / "brat", "--out", again)
    assert [line["id"] for line in read_jsonl(again)] == ["a", "c"]


def test_a_table_with_pictures(tmp_path):
    write_text(tmp_path / "7.jpg", "picture")
    rows = 'id,text,image\n1,"Ann, Bob",7\n'
    out = tmp_path / "corpus" / "train.jsonl"
    source = write_text(tmp_path / "posts.csv", rows)
    outcome = succeed("convert", source, "--out", out)
    assert "note: 1 pictures linked or copied to images/" in outcome.err
    assert read_jsonl(out) == [{"id": "1", "text": "Ann, Bob", "image": "images/7.jpg"}]
    assert (out.parent / "images" / "7.jpg").samefile(tmp_path / "7.jpg")
    outcome = succeed("convert", source, "-o", tmp_path / "x" / "a.jsonl", "--picture_files=leave")
    assert "not used: 1 pictures outside of the written file's folder" in outcome.err


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--out=x.pdf"], "expected a name that ends in one of .bio, .conll"),
        (["--out=x.csv", "--to=datasets"], "--to datasets: expected one of brat, parquet"),
        (["--out=x.csv", "--to=table"], "did you mean 'tables'"),
        (["--out=x.jsonl", "--from=brats"], "unknown format 'brats'"),
        (["--out=x.jsonl", "--columns", "text"], "expected part=name"),
        (["--out=x.jsonl", "--columns", "text=no"], "--columns text=no: expected one of"),
        (["--out=x.jsonl", "--from=brat", "--split=a"], "brat takes neither"),
        (["--out=x.jsonl", "--split=a"], "expected a column 'split' for --split"),
        (["--out=x.jsonl", "--picture_files=move"], "picture_files"),
    ],
)
def test_wrong_options_are_refused(tmp_path, monkeypatch, options, part):
    monkeypatch.chdir(tmp_path)
    write_text(tmp_path / "posts.csv", LAYOUTS["json"])
    check_refused(run("convert", "posts.csv", *options), part)
    assert [path.name for path in tmp_path.iterdir()] == ["posts.csv"]


def test_a_folder_of_brat_is_split_into_a_corpus(tmp_path):
    for number in range(10):
        write_text(tmp_path / "brat" / f"{number}.txt", BRAT_TEXT)
        write_text(tmp_path / "brat" / f"{number}.ann", BRAT_ANN)
    posts = tmp_path / "all.jsonl"
    outcome = succeed("convert", tmp_path / "brat", "--out", posts)
    assert "10 events, 10 attributes" in outcome.err
    folder = tmp_path / "corpus"
    table = succeed("corpus", "split", posts, "--out", folder, "--valid=0.2", "--test=0.2").out
    assert "6 (60.0%)" in table
    assert "entity PER" in table
    assert "relation sees" in table
    counts = {path.stem: len(read_jsonl(path)) for path in folder.iterdir()}
    assert counts == {"train": 6, "valid": 2, "test": 2}
    check_refused(run("corpus", "split", posts, "--out", folder), "name another folder by --out")
    check_refused(run("corpus", "split", posts, "--out", "x", "--by=text"), "by")
