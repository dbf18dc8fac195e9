"""Instances on which systems differ."""

from helpers.records import build_record

from mmie.reports.comparison.disagreements import (
    EntityText,
    entity_texts,
    find_disagreements,
    rank_disagreements,
)
from mmie.reports.comparison.groups import System
from mmie.runs import PredictionRecord
from mmie.types import Entity

GOLD = [(0, "PER"), (1, "LOC")]
AGREED = build_record(GOLD, [(0, "LOC")])
ARROW = "\N{RIGHTWARDS ARROW}"


def test_instances_are_ranked_by_errors_then_by_variety():
    systems = {
        "a": [
            AGREED,
            build_record(GOLD, GOLD),
            build_record(GOLD, GOLD),
            build_record(GOLD, [(0, "PER")]),
        ],
        "b": [
            AGREED,
            build_record(GOLD, [(0, "LOC"), (1, "PER")]),
            build_record(GOLD, [(0, "PER")]),
            build_record(GOLD, [(1, "LOC")]),
        ],
    }
    assert rank_disagreements(systems, 5) == [1, 2, 3]
    assert rank_disagreements(systems, 1) == [1]
    assert rank_disagreements({"a": systems["a"]}, 5) == []


def test_predictions_of_the_lowest_seed_are_shown():
    first = System("x", (), {2: [build_record(GOLD, [])], 1: [build_record(GOLD, GOLD)]})
    second = System("y", (), {1: [build_record(GOLD, [(0, "LOC")])]})
    (disagreement,) = find_disagreements([first, second], 5)
    assert (disagreement.id, disagreement.text, disagreement.image) == ("1", "a b c d", None)
    assert disagreement.gold == (EntityText("a", "PER"), EntityText("b", "LOC"))
    assert disagreement.found == {
        "x": disagreement.gold,
        "y": (EntityText("a", "LOC", right=False),),
    }
    assert disagreement.missed == {"x": 0, "y": 2}
    assert find_disagreements([], 5) == ()


def test_a_relation_is_spelled_out_with_both_arguments():
    arguments = (Entity(0, 1), Entity(2, 4))
    label = Entity(0, 1, "at")
    record = PredictionRecord("1", ("a", "b", "c", "d"), None, (label,), (), arguments)
    assert entity_texts(record, record.gold) == (EntityText(f"a {ARROW} c d", "at"),)
    none = EntityText(f"a {ARROW} c d", "None", right=False)
    assert entity_texts(record, record.predicted) == (none,)
