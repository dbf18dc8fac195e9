"""``mmie context`` from the command line to the data module that reads its files."""

import json

import pytest
from helpers.chat_endpoint import chat_endpoint
from helpers.command import check_refused, run, succeed
from helpers.corpora import post_record, write_own_corpus

from mmie.data.corpora.contexts import read_contexts

KEY = "sk-secret-key"


@pytest.fixture
def corpus(tmp_path):
    """Options that name a corpus of two training posts and a test post."""
    train = [post_record(number, "train") for number in range(2)]
    root = tmp_path / "corpus"
    write_own_corpus(root, train=train, test=[post_record(0, "train", id="7", image="7.png")])
    return ["--corpus", "JsonlCorpus", "--corpus.root", root]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "contexts" / "{split}.json"


@pytest.fixture
def prompt(tmp_path):
    file = tmp_path / "prompt.txt"
    file.write_text("Caption of {text}\n")
    return file


@pytest.fixture
def generate(corpus, out, prompt, monkeypatch):
    """Arguments that generate contexts of an endpoint's model."""
    monkeypatch.setenv("SOME_KEY", KEY)
    key = ["--key_variable", "SOME_KEY"]
    return ["context", "generate", *corpus, "--out", out, "--prompt", prompt, "--model", "m", *key]


@pytest.mark.usefixtures("_bm25")
def test_similar_training_posts_are_written(corpus, out):
    outcome = succeed("context", "retrieve", *corpus, "--out", out)
    assert outcome.out.splitlines()[0].endswith(
        "train.json: 2 of 2 posts have a new context, 2 have one in all"
    )
    assert read_contexts(out.with_name("train.json")) == {
        "train0": "train 1 train is a person.",
        "train1": "train 0 train is a person.",
    }
    # the test post has the text of the first training post
    assert read_contexts(out.with_name("test.json")) == {"7": "train 1 train is a person."}
    [maker] = json.loads(out.with_name("test.record.json").read_text())["makers"]
    assert maker["settings"]["search"] == "bm25"


@pytest.fixture
def _bm25():
    pytest.importorskip("bm25s", reason="needs bm25s: mmie[context]")


@pytest.mark.usefixtures("_bm25")
def test_files_are_appended_to_and_replaced_only_when_asked(corpus, out):
    command = ["context", "retrieve", *corpus, "--out", out, "--split", "test"]
    succeed(*command, "--template", "{labels}")
    check_refused(run(*command), "--append", "--overwrite")
    succeed(*command, "--append")
    joined = "train is a person. train 1 train is a person."
    assert read_contexts(out.with_name("test.json")) == {"7": joined}
    check_refused(run(*command, "--append"), "holds these contexts already")
    check_refused(run(*command, "--append", "--overwrite"), "either")
    succeed(*command, "--overwrite")
    assert not out.with_name("train.json").exists()


def test_a_split_that_the_corpus_lacks_is_refused(corpus, out):
    outcome = run("context", "retrieve", *corpus, "--out", out, "--split", "valid")
    check_refused(outcome, "valid", "train, test")


def test_answers_are_replayed_byte_for_byte_without_the_endpoint(generate, out):
    pytest.importorskip("openai", reason="needs openai: mmie[generate]")
    files = [out.with_name(f"{split}.json") for split in ("train", "test")]
    with chat_endpoint() as stub:
        outcome = succeed(*generate, "--endpoint", stub.url)
        assert "answers.jsonl: 3 requests were sent" in outcome.out
        assert len(stub.requests) == 3
        assert stub.headers[0]["authorization"] == f"Bearer {KEY}"
    first = [file.read_bytes() for file in files]
    assert read_contexts(files[0])["train0"] == "CAPTION OF TRAIN 0"
    succeed(*generate, "--overwrite")
    assert [file.read_bytes() for file in files] == first
    for file in out.parent.iterdir():
        assert KEY not in file.read_text()
        assert stub.url not in file.read_text()
    assert "Caption of {text}" in out.with_name("answers.jsonl").read_text()


def test_a_run_goes_on_where_the_limit_of_requests_ended_it(generate, out):
    pytest.importorskip("openai", reason="needs openai: mmie[generate]")
    with chat_endpoint() as stub:
        command = [*generate, "--endpoint", stub.url, "--max_requests", 1, "--split", "train"]
        check_refused(run(*command), "the limit of 1 requests is reached")
        assert not out.with_name("train.json").exists()
        succeed(*command)
        assert len(stub.requests) == 2
    assert set(read_contexts(out.with_name("train.json"))) == {"train0", "train1"}


def test_a_cache_without_the_answers_needs_a_model(generate):
    check_refused(run(*generate), "no answer", "--endpoint")


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--endpoint", "http://example.org/v1"], "expected https"),
        (["--endpoint", "https://example.org/v1", "--key_variable", "NONE"], "no NONE"),
        (["--prompt", "missing.txt"], "cannot be read"),
    ],
)
def test_wrong_options_are_refused(generate, options, reason):
    pytest.importorskip("openai", reason="needs openai: mmie[generate]")
    check_refused(run(*generate, *options), reason)


def test_a_text_without_gaps_is_no_template(generate, prompt):
    prompt.write_text("Caption")
    check_refused(run(*generate), "no gap")


def test_the_text_in_pictures_is_written(corpus, out):
    pytest.importorskip("rapidocr", reason="needs RapidOCR: mmie[ocr]")
    outcome = succeed("context", "ocr", *corpus, "--out", out, "--split", "test")
    assert "test.json: 0 of 1 posts have a new context" in outcome.out
    assert len(out.with_name("ocr.jsonl").read_text().splitlines()) == 2
