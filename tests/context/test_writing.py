"""Context files and their records."""

import json

import pytest
from helpers.corpora import post_record, write_own_corpus

from mmie.context.errors import ContextError
from mmie.context.writing import ContextTarget, context_targets
from mmie.data.corpora.contexts import ContextFile, read_contexts
from mmie.types import Post

OCR, RETRIEVE = {"maker": "ocr"}, {"maker": "retrieve", "k": 3}


@pytest.fixture
def target(tmp_path):
    return ContextTarget(tmp_path / "contexts" / "train.json", ("train",))


def test_a_corpus_reads_what_is_written(tmp_path, target):
    corpus = write_own_corpus(tmp_path / "corpus", train=[post_record(0, "train")])
    target.write({"train0": " a\n line ‟ \ud83d"}, OCR, append=False)
    [post] = ContextFile(str(target.file.parent / "{split}.json"), corpus).posts("train")
    assert post.context == "a line ‟ ?"


def test_empty_contexts_are_left_out(target):
    assert target.write({"1": " \n", "2": "b"}, OCR, append=False) == {"2": "b"}


def test_texts_of_several_makers_are_joined(target):
    target.write({"1": "a", "2": "b"}, OCR, append=False)
    joined = target.write({"2": "c", "3": "d"}, RETRIEVE, append=True)
    assert joined == read_contexts(target.file) == {"1": "a", "2": "b c", "3": "d"}
    makers = json.loads(target.record.read_text())["makers"]
    assert [(maker["settings"], maker["contexts"]) for maker in makers] == [(OCR, 2), (RETRIEVE, 2)]


def test_the_same_contexts_are_not_appended_twice(target):
    target.write({"1": "a"}, OCR, append=False)
    target.check(RETRIEVE, append=True, overwrite=False)
    with pytest.raises(ContextError, match="holds these contexts already"):
        target.check(OCR, append=True, overwrite=False)


def test_an_existing_file_is_not_replaced_unasked(target):
    target.write({"1": "a"}, OCR, append=False)
    with pytest.raises(ContextError, match="--append"):
        target.check(RETRIEVE, append=False, overwrite=False)
    target.check(RETRIEVE, append=False, overwrite=True)


def test_contexts_of_other_origin_are_recorded_as_such(target):
    target.file.parent.mkdir()
    target.file.write_text('{"1": "mine"}')
    assert target.write({"1": "a"}, OCR, append=True) == {"1": "mine a"}
    origin, maker = json.loads(target.record.read_text())["makers"]
    assert origin["origin"] == "not made by mmie context"
    assert maker["settings"] == OCR


def test_changes_by_hand_are_recorded(target):
    target.write({"1": "a"}, OCR, append=False)
    target.file.write_text('{"1": "mine"}')
    target.write({"1": "b"}, RETRIEVE, append=True)
    makers = json.loads(target.record.read_text())["makers"]
    assert [maker.get("origin") for maker in makers] == [None, "changed since", None]


@pytest.mark.parametrize("text", ["", "[]", '{"makers": 1}', '{"makers": [1], "sha256": ""}'])
def test_a_malformed_record_is_named(target, text):
    target.write({"1": "a"}, OCR, append=False)
    target.record.write_text(text)
    with pytest.raises(ContextError, match=r"train\.record\.json: expected a record"):
        target.check(RETRIEVE, append=True, overwrite=False)


def test_the_same_contexts_give_the_same_bytes(target):
    target.write({"1": "a", "2": "b"}, OCR, append=False)
    first = target.file.read_bytes(), target.record.read_bytes()
    target.write({"1": "a", "2": "b"}, OCR, append=False)
    assert (target.file.read_bytes(), target.record.read_bytes()) == first


def test_each_split_has_its_file(tmp_path):
    posts = {"train": [Post("1")], "test": [Post("1")]}
    targets = context_targets(str(tmp_path / "{split}.json"), posts)
    assert [target.file.name for target in targets] == ["train.json", "test.json"]


def test_one_file_holds_all_splits_if_their_ids_differ(tmp_path):
    [target] = context_targets(
        str(tmp_path / "all.json"), {"train": [Post("1")], "test": [Post("2")]}
    )
    assert target.splits == ("train", "test")
    with pytest.raises(ContextError, match=r"\{split\}"):
        context_targets(str(tmp_path / "all.json"), {"train": [Post("1")], "test": [Post("1")]})
