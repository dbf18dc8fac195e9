"""Labels of a corpus in comparison with those of a model."""

import pytest
from helpers.corpora import post_record, write_own_corpus

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.labels import check_labels, count_unknown, labels_of
from mmie.data.encoding import EncodedText
from mmie.data.instances import Instance
from mmie.types import UNKNOWN_LABEL, Entity, Post, Relation


@pytest.fixture
def corpus(tmp_path):
    spans = [{"start": 0, "end": 1}, {"start": 1, "end": 2}]
    entities = [{**spans[0], "type": "PER"}, {**spans[1], "type": "LOC"}]
    relations = [{"head": spans[0], "tail": spans[1], "label": "/x"}]
    record = post_record(0, "train", entities=entities, relations=relations)
    return write_own_corpus(tmp_path / "own", train=[record])


def test_labels_of_a_task(corpus):
    assert labels_of(corpus, "ner") == ("LOC", "PER")
    assert labels_of(corpus, "re") == ("None", "/x")


@pytest.mark.parametrize(
    ("task", "known"),
    [
        ("ner", ["PER", "LOC"]),
        ("ner", ["LOC"]),
        ("ner", ["LOC", "ORG", "PER"]),
        ("re", ["None", "/x", "/y"]),
        ("re", ["None"]),
    ],
)
def test_one_side_may_have_more_labels(corpus, task, known):
    check_labels(corpus, task, known)


@pytest.mark.parametrize(
    ("task", "known"), [("ner", ["LOC", "person"]), ("re", ["None", "/y"]), ("ner", ["a", "b"])]
)
def test_labels_on_both_sides_that_the_other_lacks_are_rejected(corpus, task, known):
    with pytest.raises(CorpusError, match=r"own has .*: one side must hold all of the other's"):
        check_labels(corpus, task, known)


def make_instance(types, relation=None) -> Instance:
    entities = tuple(Entity(index, index + 1, kind) for index, kind in enumerate(types))
    return Instance(
        Post("x", ("a",) * 9, entities=entities),
        relation,
        EncodedText([], [], []),
        [],
        UNKNOWN_LABEL,
        (),
    )


def test_unknown_types_are_counted():
    instances = [make_instance(["PER", "NEW", "ODD"]), make_instance(["NEW"]), make_instance([])]
    assert count_unknown(instances, "ner", ["PER", "LOC"]) == {"NEW": 2, "ODD": 1}
    assert count_unknown(instances, "ner", ["PER", "NEW", "ODD"]) == {}


def test_unknown_relations_are_counted_without_the_types():
    labels = ["/x", "/z", "/z", "/y"]
    instances = [
        make_instance(["NEW"], Relation(Entity(0, 1), Entity(1, 2), label)) for label in labels
    ]
    assert count_unknown(instances, "re", ["None", "/x"]) == {"/y": 1, "/z": 2}
