"""Counts of exchanged predictions, by hand."""

from helpers.exchanges import exchange, type_axis

from mmie.data.instances import Instance
from mmie.reports.certificate.outcomes import (
    ALL,
    Part,
    PictureOutcomes,
    build_record,
    exchange_records,
)
from mmie.types import Entity, Post, Prediction, Relation

PER, LOC, MISC = (Entity(0, 1, name) for name in ("PER", "LOC", "MISC"))


def test_counts_are_those_of_each_picture_and_shift():
    exchanged = exchange(
        gold=[[PER], [LOC], [PER], [LOC]],
        predictions=[
            [[PER], [LOC], [], [LOC]],
            [[PER], [PER], [PER], None],
            [[LOC], [LOC], [MISC], None],
        ],
        pictures=[0, 1, 2, None],
        blocks=((0, 1, 2),),
    )
    records = exchange_records(exchanged)
    assert [len(entry.others) for entry in records] == [2, 2, 2, 0]
    outcomes = PictureOutcomes.count(exchanged, records, [type_axis("PER", "LOC", "MISC")])
    assert outcomes.parts == (Part("", ALL), Part("Type", "PER"), Part("Type", "LOC"))
    assert outcomes.counts[:, :, 0].tolist() == [
        [[1, 1, 1], [1, 1, 1], [0, 1, 1]],
        [[1, 1, 1], [0, 1, 1], [1, 1, 1]],
        [[0, 0, 1], [1, 1, 1], [0, 1, 1]],
    ]
    assert outcomes.counts[0, :, 2].tolist() == [[0, 0, 0], [0, 0, 0], [0, 1, 0]]
    assert outcomes.fixed.tolist() == [[[1, 1, 1], [0, 0, 0], [1, 1, 1]]]
    # gains 1/2, 1/2 and -1/2, and no two changes of one answer
    assert outcomes.needs[:, 0].tolist() == [[0.5, 0], [0.5, 0], [-0.5, 0]]
    clusters = outcomes.clusters(exchanged)
    assert clusters[:, 0].tolist() == [
        [1, 1, 1, 0.5, 1, 0.5, 0],
        [1, 1, 1, 0.5, 1, 0.5, 0],
        [0, 0, 1, 0.5, 1, -0.5, 0],
        [1, 1, 1, 1, 1, 0, 0],
    ]


def test_a_relation_is_an_entity_over_its_head_and_none_is_no_answer():
    relation = Relation(Entity(0, 1), Entity(2, 3), "/per/loc/at")
    post = Post("1", ("A", "in", "B"), relations=(relation,))
    instance = Instance(post, relation, None, [], 0, ())
    none = Relation(relation.head, relation.tail, "None")
    record = build_record(instance, Prediction("1", relations=(none,)))
    assert record.gold == (Entity(0, 1, "/per/loc/at"),)
    assert record.predicted == ()
    assert record.arguments == (Entity(0, 1), Entity(2, 3))
