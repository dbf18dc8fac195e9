"""`mmie extract` and `mmie convert`: from posts to files, and wrong options."""

import pytest
from helpers.command import read_jsonl, run, succeed, write_jsonl

from mmie.cli.extraction import _extract_parser, _identity, extract_command
from mmie.inference.formats.conversion import convert
from mmie.inference.jobs.job_files import JobError
from mmie.inference.jobs.ray_engine import RayOptions, RaySummary


@pytest.fixture(scope="module")
def records(demo_root):
    """Posts of the demo corpus as a user writes them."""
    return [
        {"id": f"p{number}", "text": " ".join(line["words"]), "image": line["image"]}
        for number, line in enumerate(read_jsonl(demo_root / "test.jsonl"))
    ]


@pytest.fixture
def source(demo_root, records):
    """A file of these posts, beside their pictures."""
    write_jsonl(demo_root / "own_posts.jsonl", records)
    return demo_root / "own_posts.jsonl"


@pytest.mark.slow
def test_posts_are_extracted_to_every_format(random_pair, source, records, tmp_path):
    pytest.importorskip("rdflib")
    suffixes = (".jsonl", ".csv", ".conll", ".ttl", ".graphml", ".html")
    out = [tmp_path / f"found{suffix}" for suffix in suffixes]
    pair = [f"--ner={random_pair['ner']}", f"--re={random_pair['re']}"]
    output = succeed("extract", source, *pair, "--detector=center", "-o", *out).out
    assert all(path.stat().st_size and str(path) in output for path in out)
    results = read_jsonl(out[0])
    assert [line["id"] for line in results] == [record["id"] for record in records]
    num_relations = sum(len(line["relations"]) for line in results)
    assert len(out[1].read_text().splitlines()) == 1 + num_relations > 1
    again = tmp_path / "again.csv"
    assert succeed("convert", out[0], "--out", again).out == f"{again}\n"
    assert again.read_bytes() == out[1].read_bytes()


def test_the_table_counts_posts_entities_and_relations(random_pair, source, records, tmp_path):
    with source.open("a") as stream:
        stream.write("broken\n")
    out = tmp_path / "found.jsonl"
    output = succeed("extract", source, f"--ner={random_pair['ner']}", "-o", out).out
    num_entities = sum(len(line["entities"]) for line in read_jsonl(out))
    rows = {}
    for line in output.splitlines():
        if line.count("│") == 3:
            name, value = (cell.strip() for cell in line.strip("│").split("│"))
            rows[name] = value
    assert rows["posts"] == str(len(records) + 1)
    assert rows["could not be read"] == "1"
    assert (rows["entities"], rows["relations"]) == (str(num_entities), "0")
    assert output.splitlines()[-2:] == [str(out), str(tmp_path / "found.errors.jsonl")]


def test_wrong_targets_and_checkpoints_are_refused(random_pair, source, tmp_path):
    ner = f"--ner={random_pair['ner']}"
    outcome = run("convert", source, "--out", "x.pdf")
    assert "expected a name that ends in" in outcome.err
    outcome = run("extract", source, "-o", tmp_path / "none.csv")
    assert "no checkpoint is named" in outcome.err
    outcome = run("extract", source, ner, "-o", tmp_path / "a.jsonl", tmp_path / "b.jsonl")
    assert "out names 2 files of JSON lines: expected one at most" in outcome.err
    outcome = run("extract", source, ner, "-o", tmp_path / "found.pdf")
    assert "expected a name that ends in" in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_command_that_was_killed_before_all_files_were_converted_goes_on(
    random_pair, source, tmp_path, monkeypatch
):
    out = [tmp_path / name for name in ("found.jsonl", "found.csv", "found.conll")]
    arguments = ["extract", source, f"--ner={random_pair['ner']}", f"--re={random_pair['re']}"]
    succeed(*arguments, "-o", *out)
    expected = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for file in out:
        file.unlink()

    def convert_first(results, others):
        convert(results, others[:1])
        raise KeyboardInterrupt

    with monkeypatch.context() as killed:
        killed.setattr("mmie.cli.extraction.convert", convert_first)
        with pytest.raises(KeyboardInterrupt):
            extract_command([str(part) for part in (*arguments[1:], "-o", *out)])
    mine = tmp_path / "mine.csv"
    mine.write_text("mine")
    assert "mine.csv is there already" in run(*arguments, "-o", *out, mine).err
    mine.unlink()
    assert "is there already" not in succeed(*arguments, "-o", *out).out
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == expected
    assert "found.jsonl is there already" in run(*arguments, "-o", *out).err


def test_a_run_folder_and_its_best_checkpoint_are_one(random_pair, tmp_path):
    """A job goes on with either."""
    best = tmp_path / "run" / "best.ckpt"
    best.parent.mkdir()
    best.write_bytes(random_pair["ner"].read_bytes())
    (tmp_path / "posts.jsonl").write_text('{"text": "Jordan lands"}')
    identities = []
    for name in (best.parent, best):
        line = [str(tmp_path / "posts.jsonl"), f"--ner={name}", "--out=a.jsonl"]
        identities.append(_identity(_extract_parser().parse_args(line)))
    assert identities[0] == identities[1]


def test_the_source_and_other_files_are_not_overwritten(random_pair, tmp_path):
    table = tmp_path / "posts.csv"
    table.write_text("text\nJordan lands\n")
    arguments = ["extract", table, f"--ner={random_pair['ner']}", "-o"]
    outcome = run(*arguments, tmp_path / "new.jsonl", table, "--overwrite")
    assert "posts.csv is the source" in outcome.err
    assert table.read_text() == "text\nJordan lands\n"
    (tmp_path / "mine.html").write_text("mine")
    assert "mine.html is there already" in run(*arguments, tmp_path / "mine.html").err
    assert {path.name for path in tmp_path.iterdir()} == {"posts.csv", "mine.html"}


def test_options_that_the_ray_engine_does_not_take_are_refused(random_pair, source, tmp_path):
    arguments = ["extract", source, f"--ner={random_pair['ner']}", "--engine=ray", "-o"]
    folder = tmp_path / "a"
    assert "name one" in run(*arguments, folder, tmp_path / "b").err
    assert "name a folder, not" in run(*arguments, tmp_path / "a.jsonl").err
    assert "name a folder, not s3://a/b.jsonl" in run(*arguments, "s3://a/b.jsonl").err
    outcome = run(*arguments, folder, "--workers=2", "--precision=bfloat16")
    assert "takes no --precision, --workers" in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["source", "out", "pictures"])
def test_urls_go_with_the_ray_engine(place, random_pair, source, tmp_path):
    places = {"source": source, "out": tmp_path / "a.jsonl", "pictures": tmp_path}
    places[place] = "s3://bucket/a"
    own, out, pictures = places.values()
    pair = [f"--ner={random_pair['ner']}", f"--pictures={pictures}"]
    outcome = run("extract", own, *pair, "-o", out)
    assert "s3://bucket/a: URLs go with --engine ray" in outcome.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("place", ["results", "s3://bucket/results", "file:///results"])
def test_the_ray_engine_receives_the_options(place, random_pair, source, tmp_path, monkeypatch):
    calls = []

    def extract(*arguments):
        calls.append(arguments)
        return RaySummary(7, 2, resumed=3)

    monkeypatch.setattr("mmie.cli.extraction.extract_with_ray", extract)
    monkeypatch.chdir(tmp_path)
    given = ["--batch_size=4", "--window=8", "--actors=3", "--pictures=s3://bucket/pictures"]
    given += ["--detector=center", "--num_crops=2", "--rows_per_file=50"]
    ner = random_pair["ner"]
    output = succeed("extract", source, f"--ner={ner}", "--engine=ray", "-o", place, *given).out
    assert output == f"7 posts, 3 of them before, 2 of them read in part, in {place}\n"
    options = RayOptions(
        batch_size=4, window=8, num_actors=3, rows_per_file=50, detector="center", num_crops=2
    )
    assert calls == [(str(source), place, {"ner": str(ner)}, "s3://bucket/pictures", options)]
    assert list(tmp_path.iterdir()) == []


def test_convert_replaces_neither_its_source_nor_other_files(tmp_path):
    found = tmp_path / "found.csv"
    found.write_text('{"id": "a", "text": "Jordan", "entities": [], "relations": []}\n')
    content = found.read_bytes()
    other = tmp_path / "other.csv"
    other.write_text("mine")
    for options in ([], ["--overwrite"]):
        outcome = run("convert", found, "--out", found, *options)
        assert outcome.status == 1
        assert "is the source" in outcome.err
    outcome = run("convert", found, "--out", tmp_path / "new.conll", other)
    assert "other.csv is there already" in outcome.err
    assert (found.read_bytes(), other.read_text()) == (content, "mine")
    assert {path.name for path in tmp_path.iterdir()} == {"found.csv", "other.csv"}
    succeed("convert", found, "--out", other, "--overwrite")
    assert other.read_text().startswith("post,head")


def test_a_job_in_which_nothing_could_be_read_fails(random_pair, tmp_path):
    source, out = tmp_path / "posts.json", tmp_path / "found.jsonl"
    source.write_text('[{"txt": "a"}, 3]')
    arguments = [str(source), "--ner", str(random_pair["ner"]), "--out", str(out)]
    with pytest.raises(
        JobError, match=r"none of 2 posts could be read, the first since 1: expected"
    ):
        extract_command(arguments)
    assert len(read_jsonl(tmp_path / "found.errors.jsonl")) == 2


@pytest.mark.parametrize(
    ("name", "content"), [("posts.jsonl", ""), ("posts.jsonl", "\n\n"), ("posts.json", "[]")]
)
def test_a_job_without_posts_fails(random_pair, tmp_path, name, content):
    source, out = tmp_path / name, tmp_path / "found.jsonl"
    source.write_text(content)
    arguments = [str(source), "--ner", str(random_pair["ner"]), "--out", str(out)]
    with pytest.raises(JobError, match=r"posts\.jsonl?: expected posts, found none"):
        extract_command(arguments)


def test_a_table_with_a_delimiter_and_links(random_pair, tmp_path, capsys):
    folder = tmp_path / "posts"
    folder.mkdir()
    (folder / "posts.csv").write_text("id:text:image\n1:Jordan lands:a.jpg\n")
    (tmp_path / "blob").write_bytes(b"<html>")
    (folder / "a.jpg").symlink_to("../blob")
    arguments = [str(folder / "posts.csv"), "--ner", str(random_pair["ner"]), "--delimiter=:"]
    with pytest.raises(JobError, match="--follow_links"):
        extract_command([*arguments, "--out", str(tmp_path / "a.jsonl")])
    extract_command([*arguments, "--follow_links", "--out", str(tmp_path / "b.jsonl")])
    assert "1 image: not a picture: an HTML page" in capsys.readouterr().out
