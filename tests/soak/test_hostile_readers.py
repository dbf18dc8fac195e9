"""Readers on hostile files: every record is read or reported, and none is dropped."""

import csv
import io
import json
import warnings
from pathlib import Path

import pytest
import torch
from helpers.hostile import (
    check_message,
    check_post,
    clean_texts,
    damaged,
    json_values,
    limited_examples,
    mutated,
    nonblank_lines,
    texts,
)
from hypothesis import example, given
from hypothesis import strategies as st

from mmie.data.corpora.base import Corpus, CorpusError
from mmie.data.corpora.contexts import read_contexts
from mmie.data.corpora.crop_index import load_crop_index
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.corpora.mnre import MNRE
from mmie.data.corpora.twitter import Twitter2017
from mmie.data.sources import BadPost, SourceError, read_source
from mmie.data.sources.json_texts import split_json
from mmie.data.text_files import read_text_lines
from mmie.grounding.cache import read_journal
from mmie.grounding.errors import GroundingError
from mmie.grounding.index import read_index, to_pth, write_index
from mmie.inference.formats.text import FormatError, read_jsonl, to_conll, to_json
from mmie.runs import RunError, read_prediction_file, read_run
from mmie.types import Post

pytestmark = pytest.mark.slow

POST = {
    "id": "7",
    "words": ["Jordan", "lands", "in", "Rome"],
    "image": "images/7.jpg",
    "crops": ["crops/7_0.jpg"],
    "context": "a jet",
    "entities": [{"start": 0, "end": 1, "type": "PER"}, {"start": 3, "end": 4, "type": "LOC"}],
    "relations": [
        {"head": {"start": 0, "end": 1}, "tail": {"start": 3, "end": 4}, "label": "/per/loc/at"}
    ],
}
TEXT_POST = {
    "id": 8,
    "text": "Ann's in New York.",
    "entities": [{"start": 0, "end": 3, "type": "PER"}],
}
INSTANCE = {
    "token": ["Ann", "in", "Rome"],
    "h": {"name": "Ann", "pos": [0, 1]},
    "t": {"name": "Rome", "pos": [2, 3]},
    "img_id": "7.jpg",
    "relation": "/per/loc/at",
}
TWEETS = "IMGID:1\nAnn\tB-PER\nin\tO\nRome\tI-LOC\n\nIMGID:2\nACME\tB-ORG\nInc\tI-ORG\n"
EXTRACTION = {
    "id": "1",
    "text": "Ann in Rome",
    "entities": [{"text": "Ann", "type": "PER", "start": 0, "end": 3, "probability": 0.5}],
    "relations": [
        {
            "head": {"text": "Ann", "type": "PER", "start": 0, "end": 3},
            "label": "at",
            "tail": {"text": "Rome", "type": "LOC", "start": 7, "end": 11},
            "probability": 1.0,
        }
    ],
    "problems": ["image: missing"],
}
CROP_ENTRY = {
    "id": "7",
    "image": "../images/7.jpg",
    "phrases": ["red car"],
    "crops": [
        {
            "file": "1f.jpg",
            "box": [1, 2, 90, 80],
            "phrase": "red car",
            "score": 0.4,
            "detector": "owl",
        }
    ],
}
RELATION = {
    "head": {"start": 0, "end": 1, "type": ""},
    "tail": {"start": 1, "end": 2, "type": ""},
    "label": "/per/loc/at",
}
PREDICTIONS = [
    {
        "id": "1",
        "words": ["Ann"],
        "image": None,
        "gold": [{"start": 0, "end": 1, "type": "PER"}],
        "predicted": [],
    },
    {
        "id": "2",
        "words": ["Ann", "Rome"],
        "image": "a.jpg",
        "gold": RELATION,
        "predicted": RELATION,
    },
]


def json_bytes(*records) -> bytes:
    """Return the bytes of a file of JSON lines."""
    return "\n".join(map(json.dumps, records)).encode()


def pickled(value) -> bytes:
    """Return the bytes of a file of ``torch.save``."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def json_lines(*records):
    """Return a strategy of files of JSON lines.

    A line is a mutated record or any value; other files are damaged, or random bytes.
    """
    values = [*map(mutated, records), json_values]
    line = st.one_of(value.map(json.dumps) for value in values)
    files = st.lists(line, min_size=1, max_size=3).map(lambda lines: "\n".join(lines).encode())
    return files | damaged(json_bytes(*records)) | st.binary(max_size=40)


def count_objects(data: bytes) -> int:
    """Count the lines of a file, or its objects if they go over several lines."""
    return len(list(split_json(read_text_lines(io.BytesIO(data)))))


def check_corpus(corpus: type[Corpus], root: Path, count: int) -> None:
    """Check that every record of the training split is a post or an error.

    Args:
        corpus: Class of the corpus.
        root: Its folder.
        count: Number of records.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lenient = corpus(root, strict=False)
        posts = lenient.posts("train")
        skipped = lenient.skipped["train"]
        assert len(posts) + len(skipped) == count
        assert len({post.id for post in posts}) == len(posts)
        for post in posts:
            check_post(post, root)
        for message in skipped:
            check_message(message, f"{lenient.text_file('train')}:")
        check_strict(corpus(root), posts, skipped)


def check_strict(corpus: Corpus, posts: list[Post], skipped: list[str]) -> None:
    """Check that strict reading gives the same posts, or stops at the first malformed line."""
    if skipped:
        with pytest.raises(CorpusError) as caught:
            corpus.posts("train")
        assert str(caught.value) == skipped[0]
    else:
        assert corpus.posts("train") == posts


def nested_words(depth: int) -> bytes:
    """Return a record whose words are nested lists."""
    return b'{"id": 1, "words": ' + b"[" * depth + b"]" * depth + b"}"


@limited_examples()
@given(data=json_lines(POST, TEXT_POST))
@example(data=b'{"id": "\\ud800", "words": ["a"]}')
@example(data=b'{"id": 1, "words": ["a"], "image": "\\udcff.jpg"}')
@example(data=b'{"id": 1, "words": ["a"], "words": ["b"]}')
@example(data=b'{"id": 1, "words": ["a"], "entities": [{"start": 0, "end": 1, "type": "\\ud800"}]}')
def test_jsonl_corpus(tmp_path, data):
    (tmp_path / "train.jsonl").write_bytes(data)
    check_corpus(JsonlCorpus, tmp_path, count_objects(data))


@pytest.mark.parametrize("depth", [10, 100, *range(850, 1000, 3), 100_000])
def test_nested_records(tmp_path, depth):
    (tmp_path / "train.jsonl").write_bytes(nested_words(depth))
    (tmp_path / "mnre_train.txt").write_bytes(nested_words(depth))
    check_corpus(JsonlCorpus, tmp_path, 1)
    check_corpus(MNRE, tmp_path, 1)


def python_literal(record) -> bytes:
    """Return the Python literal of a record."""
    return repr(record).encode(errors="replace")


@limited_examples()
@given(data=json_lines(INSTANCE) | mutated(INSTANCE).map(python_literal))
@example(data=(b"1" * 400) + b" + 1j")
@example(data=b"1" * 5000)
@example(data=b"1" + b"+1" * 50_000)
@example(data=b"-" * 50_000 + b"1")
@example(data=b"{" * 5000)
@example(data=b"{[]: 1}")
@example(data=b"\0")
@example(data=repr({**INSTANCE, "h": {"pos": ["9", 1]}}).replace("'9'", f"0x{'f' * 5000}").encode())
def test_mnre(tmp_path, data):
    (tmp_path / "mnre_train.txt").write_bytes(data)
    check_corpus(MNRE, tmp_path, len(nonblank_lines(data)))


def tweet_of(text: str) -> bytes:
    """Return a post with a text as its id and as its only word."""
    return f"IMGID:{text}\n{text}\tO\n".encode()


@limited_examples()
@given(data=damaged(TWEETS.encode()) | clean_texts.map(tweet_of))
def test_twitter(tmp_path, data):
    (tmp_path / "train.txt").write_bytes(data)
    lines = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    heads = [index for index, line in enumerate(lines) if line.startswith(b"IMGID:")]
    before_first = lines[: heads[0]] if heads else lines
    has_orphans = any(line.strip(b" ") for line in before_first)
    check_corpus(Twitter2017, tmp_path, len(heads) + has_orphans)


def read_posts(source: Path) -> tuple[list[Post], list[BadPost]]:
    """Read a source, check each item, and return the posts and the bad ones."""
    posts, bad_posts = [], []
    for item in read_source(str(source)):
        if isinstance(item, Post):
            check_post(item, source if source.is_dir() else source.parent)
            posts.append(item)
        if isinstance(item, BadPost):
            check_message(item.reason)
            assert item.place
            (item.place + item.reason).encode()
            bad_posts.append(item)
    return posts, bad_posts


@limited_examples()
@given(data=json_lines({**POST, "id": None}, TEXT_POST, {"text": " "}))
def test_source_of_json_lines(tmp_path, data):
    file = tmp_path / "posts.jsonl"
    file.write_bytes(data)
    posts, bad_posts = read_posts(file)
    assert len(posts) + len(bad_posts) == count_objects(data)


TABLE = b'id,text,image\n1,"Ann, in Rome",a.jpg\n2,"two\nlines",\n3,"he said ""hi""",b.jpg\n'


@limited_examples()
@given(
    data=damaged(TABLE) | st.binary(max_size=60).map(lambda rows: b"text,id\n" + rows),
    tabs=st.booleans(),
)
@example(data=b"t" * 2**24 + b"ext\n", tabs=False)
@example(data=b"text,text\na,b\n", tabs=False)
def test_source_of_a_table(tmp_path, data, tabs):
    file = tmp_path / ("posts.tsv" if tabs else "posts.csv")
    file.write_bytes(data.replace(b",", b"\t") if tabs else data)
    try:
        read_posts(file)
    except SourceError as error:
        check_message(error, file)


@limited_examples()
@given(
    rows=st.lists(clean_texts, min_size=1, max_size=5),
    num_following=st.integers(0, 3),
    tabs=st.booleans(),
)
def test_no_row_of_a_table_is_lost(tmp_path, rows, num_following, tabs):
    """A quote that is left open costs its own row, which must be reported."""
    file = tmp_path / ("posts.tsv" if tabs else "posts.csv")
    stream = io.StringIO(newline="")
    table = csv.writer(
        stream, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_ALL, lineterminator="\n"
    )
    table.writerows([["text"], *([text] for text in rows)])
    file.write_bytes(stream.getvalue().encode())
    posts, bad_posts = read_posts(file)
    assert not bad_posts
    assert [post.text for post in posts] == rows
    unclosed = b'"left open\n' + b"row\n" * num_following
    file.write_bytes(stream.getvalue().encode() + unclosed)
    posts, bad_posts = read_posts(file)
    assert len(posts) == len(rows) + num_following
    assert len(bad_posts) == 1


@limited_examples()
@given(
    data=damaged(json.dumps({"1": "a jet", "2": "a boat"}).encode())
    | json_values.map(json.dumps).map(str.encode)
)
@example(data=b'{"1": "a jet", "1": "a boat"}')
@example(data=json.dumps({2000 * "w": None}).encode())
def test_contexts(tmp_path, data):
    file = tmp_path / "contexts.json"
    file.write_bytes(data)
    try:
        contexts = read_contexts(file)
    except CorpusError as error:
        check_message(error, file)
    else:
        assert all(isinstance(value, str) for value in contexts.values())
        pairs = json.loads(data.removeprefix(b"\xef\xbb\xbf"), object_pairs_hook=list)
        assert len(pairs) == len(contexts)


LONG = 2000 * "w"
MENTION = EXTRACTION["entities"][0]


@limited_examples()
@given(data=json_lines(EXTRACTION))
@example(data=json_bytes({**EXTRACTION, "entities": [MENTION, MENTION]}))
@example(data=json_bytes({**EXTRACTION, "entities": [{**MENTION, "type": [LONG]}]}))
@example(data=json_bytes({**EXTRACTION, "id": LONG, "entities": [MENTION, MENTION]}))
@example(data=json_bytes({**EXTRACTION, "entities": [{**MENTION, "type": LONG}] * 2}))
def test_extractions(tmp_path, data):
    file = tmp_path / "extractions.jsonl"
    file.write_bytes(data)
    try:
        extractions = list(read_jsonl(file))
    except FormatError as error:
        check_message(error, f"{file}:")
        return
    assert len(extractions) == len([line for line in data.split(b"\n") if line.strip()])
    for extraction in extractions:
        json.dumps(to_json(extraction))
        try:
            text = to_conll(extraction)
        except FormatError as error:
            check_message(error)
            continue
        (tmp_path / "train.txt").write_text(text, encoding="utf-8", errors="replace", newline="")
        if extraction.offsets and _is_twitter(text):
            (post,) = Twitter2017(tmp_path).posts("train")
            assert len(post.words) == len(extraction.offsets)


def _is_twitter(text: str) -> bool:
    """Tell whether the layout admits all types and the id, which pictures are named after."""
    head, *lines = text.split("\n")
    tags = {line.rpartition("\t")[2][2:] for line in lines if "\t" in line}
    identifier = head.removeprefix("IMGID:")
    has_known_types = tags <= {"", "PER", "LOC", "ORG", "MISC"}
    return has_known_types and identifier.isalnum() and len(identifier) < 100


@limited_examples()
@given(data=json_lines(CROP_ENTRY))
def test_crop_index(tmp_path, data):
    file = tmp_path / "index.jsonl"
    file.write_bytes(data)
    try:
        entries = read_index(file)
    except GroundingError as error:
        check_message(error, f"{file}:")
        return
    assert len(entries) == len(nonblank_lines(data))
    write_index(tmp_path / "again.jsonl", entries)
    assert repr(read_index(tmp_path / "again.jsonl")) == repr(entries)
    for key in ("id", "image"):
        try:
            to_pth(entries, tmp_path / "index.pth", key)
        except GroundingError as error:
            check_message(error)
        else:
            load_crop_index([tmp_path / "index.pth"])


DETECTIONS = {"key": "ab", "size": [40, 30], "found": [[[1, 2, 3, 4], "car", 0.5, "owl"]]}


@limited_examples()
@given(data=json_lines(DETECTIONS))
@example(data=b'{"key": [], "size": [1, 2], "found": []}')
@example(data=b'{"key": "a", "size": [Infinity, 2], "found": []}')
def test_journal_of_detections(tmp_path, data):
    # a damaged line is skipped, and its picture is detected again
    file = tmp_path / "journal.jsonl"
    file.write_bytes(data)
    for key, record in dict(read_journal(file)).items():
        assert isinstance(key, str)
        for detection in record.detections:
            assert all(type(edge) is int for edge in detection.box)


@limited_examples(4)
@given(
    value=json_values | st.dictionaries(texts | st.integers(), st.lists(texts) | json_values),
    data=st.binary(),
)
def test_published_crop_index(tmp_path, value, data):
    file = tmp_path / "index.pth"
    torch.save(value, file)
    whole = file.read_bytes()
    for content in (whole, whole[: len(data) * 20], data):
        file.write_bytes(content)
        try:
            index = load_crop_index([file])
        except CorpusError as error:
            check_message(error, file)
        else:
            for crops in index.values():
                assert all(isinstance(crop, str) for crop in crops)


@limited_examples()
@given(data=json_lines(*PREDICTIONS))
def test_predictions_of_a_run(tmp_path, data):
    file = tmp_path / "predictions.jsonl"
    file.write_bytes(data)
    try:
        predictions = read_prediction_file(file)
    except RunError as error:
        check_message(error, file)
        return
    for prediction in predictions:
        for entity in (*prediction.gold, *prediction.predicted, *prediction.arguments):
            assert 0 <= entity.start < entity.end <= len(prediction.words)
            assert isinstance(entity.type, str)
        assert all(isinstance(word, str) for word in prediction.words)


@pytest.fixture(scope="session")
def run_files() -> dict[str, object]:
    """Configuration and metrics of a tested run, by file name."""
    epoch = {"epoch": 0, "samples": 4, "seconds": 1.0, "train_seconds": 0.5, "val/f1": 0.1}
    sizes = {"parameters": 3, "trained_parameters": 2, "peak_memory_gib": 0.1}
    return {
        "config.yaml": {
            "seed_everything": 1,
            "model": {"class_path": "mmie.methods.HVPNet", "init_args": {"lr": 0.1}},
            "data": {
                "task": "ner",
                "corpus": {"class_path": "mmie.data.JsonlCorpus", "init_args": {"root": "demo"}},
            },
            "trainer": {"max_epochs": 1},
        },
        "metrics.json": {
            "test": {"test/f1": 0.5, "checkpoint": "best.ckpt", "pictures": "right"},
            "test_none": {"test/f1": 0.2},
            "fit": {**sizes, "best": epoch, "epochs": [epoch]},
        },
    }


@limited_examples()
@given(choice=st.data())
def test_run_folder(tmp_path, run_files, choice):
    for name, content in run_files.items():
        whole = json.dumps(content).encode()
        mutants = mutated(content).map(json.dumps).map(str.encode)
        (tmp_path / name).write_bytes(choice.draw(mutants | damaged(whole) | st.just(whole)))
    try:
        run = read_run(tmp_path)
    except RunError as error:
        check_message(error, tmp_path)
    else:
        for value in (*run.scores.values(), *run.other_pictures.values()):
            assert isinstance(value, float | int)
        assert all(isinstance(name, str) for name in (run.method, run.corpus, run.pictures))


@pytest.mark.parametrize(
    "text", ["a: &a [*a]", "a: &a {b: *a}", "[" * 20_000, "!!python/object/apply:os.getpid []"]
)
def test_run_folder_with_a_cyclic_configuration(tmp_path, run_files, text):
    config = {key: value for key, value in run_files["config.yaml"].items() if key != "model"}
    lines = [f"{key}: {json.dumps(value)}" for key, value in config.items()]
    lines += ["model: &m {class_path: a.B, init_args: *m}", text]
    (tmp_path / "config.yaml").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "metrics.json").write_text(json.dumps(run_files["metrics.json"]), encoding="utf-8")
    with pytest.raises(RunError, match=r"config\.yaml is damaged"):
        read_run(tmp_path)
