"""Every reader of posts on hostile files: each record is read or named, none is dropped, and none is anything else."""

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
from mmie.grounding.cache import read_journal
from mmie.grounding.errors import GroundingError
from mmie.grounding.index import read_index, to_pth, write_index
from mmie.inference.formats.text import FormatError, read_jsonl, to_conll, to_json
from mmie.runs import RunError, read_prediction_file, read_run
from mmie.types import Post

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
FOUND = {
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
ENTRY = {
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
ANSWERS = [
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
    """A file of JSON lines."""
    return "\n".join(map(json.dumps, records)).encode()


def pickled(value) -> bytes:
    """A file of ``torch.save``."""
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def json_lines(*records):
    """Files of JSON lines: each a record that was mutated, or any value."""
    line = st.one_of(
        *(mutated(record).map(json.dumps) for record in records), json_values.map(json.dumps)
    )
    whole = st.lists(line, min_size=1, max_size=3).map(lambda lines: "\n".join(lines).encode())
    return whole | damaged(json_bytes(*records)) | st.binary(max_size=40)


def read_both(make, count: int, root: Path) -> list[Post]:
    """The posts of the training split; every record is a post or an error, in both modes of reading."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lenient = make(False)
        posts = lenient.posts("train")
        skipped = lenient.skipped["train"]
        assert len(posts) + len(skipped) == count
        assert len({post.id for post in posts}) == len(posts)
        for post in posts:
            check_post(post, root)
        for message in skipped:
            check_message(message, f"{lenient.text_file('train')}:")
        check_strict(make(True), posts, skipped)
    return posts


def check_strict(corpus: Corpus, posts: list[Post], skipped: list[str]) -> None:
    """Strict reading gives the same, or stops at the first malformed line."""
    if skipped:
        with pytest.raises(CorpusError) as caught:
            corpus.posts("train")
        assert str(caught.value) == skipped[0]
    else:
        assert corpus.posts("train") == posts


def nested(depth: int) -> bytes:
    return b'{"id": 1, "words": ' + b"[" * depth + b"]" * depth + b"}"


@limited_examples()
@given(data=json_lines(POST, TEXT_POST))
@example(data=b'{"id": "\\ud800", "words": ["a"]}')
@example(data=b'{"id": 1, "words": ["a"], "image": "\\udcff.jpg"}')
@example(data=b'{"id": 1, "words": ["a"], "words": ["b"]}')
@example(data=b'{"id": 1, "words": ["a"], "entities": [{"start": 0, "end": 1, "type": "\\ud800"}]}')
def test_jsonl_corpus(tmp_path, data):
    (tmp_path / "train.jsonl").write_bytes(data)
    read_both(lambda strict: JsonlCorpus(tmp_path, strict), len(nonblank_lines(data)), tmp_path)


@pytest.mark.parametrize("depth", [10, 100, *range(850, 1000, 3), 100_000])
def test_nesting_of_any_depth(tmp_path, depth):
    (tmp_path / "train.jsonl").write_bytes(nested(depth))
    (tmp_path / "mnre_train.txt").write_bytes(nested(depth))
    read_both(lambda strict: JsonlCorpus(tmp_path, strict), 1, tmp_path)
    read_both(lambda strict: MNRE(tmp_path, strict), 1, tmp_path)


@limited_examples()
@given(
    data=json_lines(INSTANCE)
    | mutated(INSTANCE).map(lambda record: repr(record).encode(errors="replace"))
)
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
    read_both(lambda strict: MNRE(tmp_path, strict), len(nonblank_lines(data)), tmp_path)


@limited_examples()
@given(
    data=damaged(TWEETS.encode())
    | clean_texts.map(lambda text: f"IMGID:{text}\n{text}\tO\n".encode())
)
def test_twitter(tmp_path, data):
    (tmp_path / "train.txt").write_bytes(data)
    lines = [line.removesuffix(b"\r") for line in data.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    heads = [place for place, line in enumerate(lines) if line.startswith(b"IMGID:")]
    orphans = [line for line in lines[: heads[0] if heads else None] if line.strip(b" ")]
    read_both(lambda strict: Twitter2017(tmp_path, strict), len(heads) + bool(orphans), tmp_path)


def read_all(source: Path) -> tuple[list[Post], list[BadPost]]:
    items = list(read_source(str(source)))
    posts, bad = (
        [i for i in items if isinstance(i, Post)],
        [i for i in items if isinstance(i, BadPost)],
    )
    for post in posts:
        check_post(post, source if source.is_dir() else source.parent)
    for item in bad:
        check_message(item.reason)
        assert item.place
        (item.place + item.reason).encode()
    return posts, bad


@limited_examples()
@given(data=json_lines({**POST, "id": None}, TEXT_POST, {"text": " "}))
def test_source_of_json_lines(tmp_path, data):
    file = tmp_path / "posts.jsonl"
    file.write_bytes(data)
    posts, bad = read_all(file)
    lines = data.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    assert len(posts) + len(bad) == sum(bool(line.strip()) for line in lines)


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
        read_all(file)
    except SourceError as error:
        check_message(error, file)


@limited_examples()
@given(
    rows=st.lists(clean_texts, min_size=1, max_size=5), cut=st.integers(0, 3), tabs=st.booleans()
)
def test_no_row_of_a_table_is_swallowed(tmp_path, rows, cut, tabs):
    """Where a quote is left open, what follows is part of one field: that must be said."""
    file = tmp_path / ("posts.tsv" if tabs else "posts.csv")
    stream = io.StringIO(newline="")
    table = csv.writer(
        stream, delimiter="\t" if tabs else ",", quoting=csv.QUOTE_ALL, lineterminator="\n"
    )
    table.writerows([["text"], *([text] for text in rows)])
    file.write_bytes(stream.getvalue().encode())
    posts, bad = read_all(file)
    assert not bad
    assert [post.text for post in posts] == rows
    file.write_bytes(stream.getvalue().encode() + b'"left open\n' + b"row\n" * cut)
    posts, bad = read_all(file)
    assert len(posts) == len(rows)
    assert bad


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


@limited_examples()
@given(data=json_lines(FOUND))
@example(data=json.dumps({**FOUND, "entities": 2 * FOUND["entities"]}).encode())
@example(
    data=json.dumps(
        {**FOUND, "entities": [{**FOUND["entities"][0], "type": [2000 * "w"]}]}
    ).encode()
)
@example(data=json.dumps({**FOUND, "id": 2000 * "w", "entities": 2 * FOUND["entities"]}).encode())
@example(
    data=json.dumps(
        {**FOUND, "entities": [{**FOUND["entities"][0], "type": 2000 * "w"}] * 2}
    ).encode()
)
def test_what_was_found(tmp_path, data):
    file = tmp_path / "found.jsonl"
    file.write_bytes(data)
    try:
        found = list(read_jsonl(file))
    except FormatError as error:
        check_message(error, f"{file}:")
        return
    assert len(found) == len([line for line in data.split(b"\n") if line.strip()])
    for extraction in found:
        json.dumps(to_json(extraction))
        try:
            text = to_conll(extraction)
        except FormatError as error:
            check_message(error)
            continue
        (tmp_path / "train.txt").write_text(text, encoding="utf-8", errors="replace", newline="")
        if extraction.offsets:
            (post,) = Twitter2017(tmp_path).posts("train") if _is_twitter(text) else [None]
            assert post is None or len(post.words) == len(extraction.offsets)


def _is_twitter(text: str) -> bool:
    """Whether all types are those that the layout knows and the id is one that a picture can be named after."""
    tags = {line.rpartition("\t")[2][2:] for line in text.split("\n")[1:] if "\t" in line}
    identifier = text.split("\n")[0].removeprefix("IMGID:")
    return (
        tags <= {"", "PER", "LOC", "ORG", "MISC"} and identifier.isalnum() and len(identifier) < 100
    )


@limited_examples()
@given(data=json_lines(ENTRY))
def test_index_of_crops(tmp_path, data):
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


@limited_examples()
@given(
    data=json_lines({"key": "ab", "size": [40, 30], "found": [[[1, 2, 3, 4], "car", 0.5, "owl"]]})
)
@example(data=b'{"key": [], "size": [1, 2], "found": []}')
@example(data=b'{"key": "a", "size": [Infinity, 2], "found": []}')
def test_journal_of_detections(tmp_path, data):
    """A damaged line is passed over: its picture is looked at again."""
    file = tmp_path / "journal.jsonl"
    file.write_bytes(data)
    for key, found in dict(read_journal(file)).items():
        assert isinstance(key, str)
        assert all(type(edge) is int for detection in found.detections for edge in detection.box)


@limited_examples(4)
@given(
    value=json_values | st.dictionaries(texts | st.integers(), st.lists(texts) | json_values),
    data=st.binary(),
)
def test_published_index(tmp_path, value, data):
    file = tmp_path / "index.pth"
    torch.save(value, file)
    for content in (file.read_bytes(), file.read_bytes()[: len(data) * 20], data):
        file.write_bytes(content)
        try:
            index = load_crop_index([file])
        except CorpusError as error:
            check_message(error, file)
        else:
            assert all(isinstance(crop, str) for crops in index.values() for crop in crops)


@limited_examples()
@given(data=json_lines(*ANSWERS))
def test_answers_of_a_run(tmp_path, data):
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
    """What a tested run leaves."""
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
        assert all(
            isinstance(value, float | int)
            for value in (*run.scores.values(), *run.other_pictures.values())
        )
        assert all(isinstance(name, str) for name in (run.method, run.corpus, run.pictures))


@pytest.mark.parametrize(
    "text", ["a: &a [*a]", "a: &a {b: *a}", "[" * 20_000, "!!python/object/apply:os.getpid []"]
)
def test_run_folder_of_no_tree(tmp_path, run_files, text):
    config = run_files["config.yaml"] | {"model": None}
    lines = [f"{key}: {json.dumps(value)}" for key, value in config.items() if value is not None]
    lines += ["model: &m {class_path: a.B, init_args: *m}", text]
    (tmp_path / "config.yaml").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "metrics.json").write_text(json.dumps(run_files["metrics.json"]), encoding="utf-8")
    with pytest.raises(RunError, match="holds no tested run"):
        read_run(tmp_path)
