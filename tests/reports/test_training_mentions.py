"""Occurrences of entities in training."""

from collections import Counter

import pytest
from helpers.command import write_jsonl
from helpers.run_folders import entity, write_run

from mmie.reports.training_mentions import (
    FREQUENCIES,
    count_training_mentions,
    frequency_bucket,
)
from mmie.runs import PredictionRecord, read_run
from mmie.types import Entity

WORDS = ["JORDAN", "meets", "Paris"]
PERSON, PLACE = entity(0, "PER"), entity(2, "LOC")
RELATION = {"head": PERSON, "tail": PLACE, "label": "at"}
INVERSE = {"head": PLACE, "tail": PERSON, "label": "of"}


def run_on(corpus, folder, **settings):
    return read_run(write_run(folder, corpus="mmie.data.JsonlCorpus", root=corpus, **settings))


@pytest.fixture
def corpus(tmp_path):
    """A corpus whose training post has two entities and two relations between them."""
    post = {"id": "1", "words": WORDS, "entities": [PERSON], "relations": [RELATION, INVERSE]}
    for split in ("train", "test"):
        write_jsonl(tmp_path / "corpus" / f"{split}.jsonl", [post])
    return tmp_path / "corpus"


def test_entities_are_counted_in_lower_case(corpus, tmp_path):
    assert count_training_mentions(run_on(corpus, tmp_path / "run")) == Counter(["jordan"])


def test_arguments_of_several_relations_are_counted_once(corpus, tmp_path):
    run = run_on(corpus, tmp_path / "run", task="re", lines=None)
    assert count_training_mentions(run) == Counter(["jordan", "paris"])


def test_a_corpus_that_cannot_be_read_gives_none(corpus, tmp_path):
    assert count_training_mentions(run_on(tmp_path / "gone", tmp_path / "a")) is None
    (corpus / "train.jsonl").write_text("{")
    assert count_training_mentions(run_on(corpus, tmp_path / "b")) is None


def test_buckets_are_by_frequency():
    record = PredictionRecord("1", ("New", "York"), None, (), ())
    names = []
    for count in (0, 1, 2, 5, 6, 100):
        names.append(frequency_bucket(Counter({"new york": count}), record, Entity(0, 2)))
    assert names == ["unseen", "once", "2 to 5 times", "2 to 5 times"] + ["6 times or more"] * 2
    assert list(dict.fromkeys(names)) == list(FREQUENCIES)


def test_a_relation_is_in_the_bucket_of_its_rarer_argument():
    arguments = (Entity(0, 1), Entity(1, 2))
    record = PredictionRecord("1", ("a", "b"), None, (), (), arguments)
    assert frequency_bucket(Counter({"a": 6, "b": 1}), record, Entity(0, 1, "at")) == "once"
