"""Content of the page of a post."""

from dataclasses import replace

import torch
from helpers.methods import instance_without_views

from mmie.reports.diagnosis.diagnosis import diagnose
from mmie.reports.diagnosis.post import post_section, split_text
from mmie.types import Entity

WORDS = ("Jordan", "lands", "in", "New", "York")


def test_a_text_is_split_at_entities():
    entities = (Entity(3, 5, "LOC"), Entity(0, 1, "PER"))
    assert split_text(WORDS, entities) == [
        ("Jordan", "PER"),
        ("lands in", ""),
        ("New York", "LOC"),
    ]
    assert split_text(WORDS, ()) == [("Jordan lands in New York", "")]


def test_the_arguments_of_a_relation_are_marked(build_target):
    target = build_target("text_only", "re")
    (diagnosis,) = diagnose(target, target.instances[:1])
    section = post_section(target, diagnosis)
    assert {name for _, name in section["gold"] if name} == {"head", "tail"}
    assert section["relation"] is diagnosis.instance.relation
    assert section["predicted_relation"] == diagnosis.prediction.relations[0].label


def test_every_view_has_a_card(build_target):
    target = build_target("hvpnet")
    (diagnosis,) = diagnose(target, target.instances[:1])
    cards = post_section(target, diagnosis)["views"]
    assert [card["name"] for card in cards] == ["picture", "crop 1", "crop 2", "crop 3"]
    assert [card["support"] for card in cards] == diagnosis.values["view_support"].tolist()
    assert [card["uri"] is None for card in cards] == [
        path is None for path in diagnosis.instance.views
    ]
    assert all(card["mass"] is not None for card in cards)


def test_gates_of_unreadable_views_have_no_table(build_target):
    target = build_target("hvpnet")
    (diagnosis,) = diagnose(target, [instance_without_views(target.instances[0])])
    captions = [table["caption"] for table in post_section(target, diagnosis)["tables"]]
    assert not [caption for caption in captions if caption.startswith("Gates of scales")]


def test_tables_of_unknown_values_have_their_name(build_target):
    target = build_target("text_only")
    (diagnosis,) = diagnose(target, target.instances[:1])
    values = {**diagnosis.values, "new": torch.ones(2, 3), "vector": torch.ones(4)}
    tables = post_section(target, replace(diagnosis, values=values))["tables"]
    assert [(table["caption"], table["columns"]) for table in tables] == [("new", ["1", "2", "3"])]


def test_the_own_picture_is_marked_among_similar_ones(build_target):
    target = build_target("imm")
    instances = [*target.instances[:3], instance_without_views(target.instances[3])]
    diagnosis = diagnose(target, instances)[1]
    rows = post_section(target, diagnosis)["similarities"]
    assert [row["id"] for row in rows] == [instance.post.id for instance in instances[:3]]
    assert [row["own"] for row in rows] == [False, True, False]
    scores = diagnosis.values["learned_similarity"].tolist()
    assert [row["scores"]["learned"] for row in rows] == scores[:3]
