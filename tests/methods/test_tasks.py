"""The two tasks: heads, predictions, probabilities, calibration and metrics."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from helpers.methods import build_module, distinct_instances, encode, make_batch, perturb

from mmie.blocks.heads import RelationHead, TagHead
from mmie.methods import TextOnly
from mmie.methods.tasks import EntityTask, RelationTask, build_task
from mmie.metrics import RelationF1, SpanF1
from mmie.tags import entities_to_tags, tag_names
from mmie.types import Entity, Prediction, Relation, Schema

ENTITIES = Schema("ner", ("PER", "LOC"), vocab_size=10)
RELATIONS = Schema("re", ("None", "/per/loc/at"), vocab_size=10)
PERSON, PLACE = Entity(0, 1, "PER"), Entity(2, 4, "LOC")


@pytest.fixture
def entity_batch(demo_data, tiny_bert):
    data = demo_data("ner", tiny_bert)
    return make_batch(data, distinct_instances(data.instances["train"], 4))


@pytest.fixture
def relation_batch(demo_data, tiny_bert):
    data = demo_data("re", tiny_bert)
    return make_batch(data, distinct_instances(data.instances["train"], 4))


@pytest.mark.parametrize(
    ("schema", "task", "head", "metric"),
    [
        (ENTITIES, EntityTask, TagHead, SpanF1),
        (RELATIONS, RelationTask, RelationHead, RelationF1),
    ],
)
def test_schema_decides_task_head_and_metric(schema, task, head, metric):
    built = build_task(schema)
    assert type(built) is task
    assert built.asks_pairs == (task is RelationTask)
    assert type(built.build_head(8, "entities", 0.1)) is head
    assert type(built.build_metric()) is metric


def test_tags_become_entities(entity_batch):
    names = tag_names(ENTITIES.labels, ENTITIES.tag_scheme)
    tags = ["B-PER", "O", "B-LOC", "I-LOC"]
    decoded = torch.tensor([[names.index(tag) for tag in tags], [0] * 4])
    batch = replace(entity_batch, ids=("a", "b"))
    assert build_task(ENTITIES).build_predictions(batch, decoded) == [
        Prediction("a", entities=(PERSON, PLACE)),
        Prediction("b"),
    ]


def test_labels_become_relations_between_the_given_entities(relation_batch):
    gold = (Relation(PERSON, PLACE, "None"), Relation(PLACE, PERSON, "/per/loc/at"))
    batch = replace(relation_batch, ids=("a", "b"), relations=gold)
    predictions = build_task(RELATIONS).build_predictions(batch, torch.tensor([1, 0]))
    assert predictions == [
        Prediction("a", relations=(Relation(PERSON, PLACE, "/per/loc/at"),)),
        Prediction("b", relations=(Relation(PLACE, PERSON, "None"),)),
    ]


@pytest.mark.slow
def test_probability_of_an_entity_is_the_sum_over_tag_sequences(demo_data, tiny_bert):
    data = demo_data("ner", tiny_bert)
    schema = replace(data.schema, labels=("PER",))
    module = perturb(build_module(TextOnly, schema, tiny_bert))
    instance = min(distinct_instances(data.instances["train"], 8), key=lambda i: len(i.post.words))
    batch = make_batch(data, [instance])
    states = encode(module, batch)
    names = tag_names(schema.labels, schema.tag_scheme)
    length = batch.word_mask.shape[1]
    entity = Entity(1, 3, "PER")
    tags = torch.tensor([[names.index(tag) for tag in entities_to_tags([entity], length, "bio")]])
    (prediction,) = module.task.predict(module.head, states, tags, batch)
    assert prediction.entities == (entity,)
    expected = 0.0
    for sequence in itertools.product(range(len(names)), repeat=length):
        candidate = replace(batch, tags=torch.tensor([sequence]))
        loss = module.head.loss(states, candidate).item()
        (decoded,) = module.task.build_predictions(batch, candidate.tags)
        if math.isfinite(loss) and entity in decoded.entities:
            expected += math.exp(-loss)
    assert prediction.probabilities[0] == pytest.approx(expected, rel=1e-3)


def test_probability_of_a_label_is_added(relation_batch):
    predictions = [Prediction(post, relations=()) for post in relation_batch.ids]
    probabilities = torch.tensor([0.1, 0.2, 0.3, 0.4])
    completed = build_task(RELATIONS).add_probabilities(predictions, [probabilities])
    for prediction, probability in zip(completed, probabilities.tolist(), strict=True):
        assert prediction.probabilities == (probability,)


def test_calibration_pairs_of_entities_leave_out_copies(entity_batch):
    batch = replace(
        entity_batch,
        counted=torch.tensor([True, False, True]),
        entities=((PERSON,), (PERSON,), ()),
    )
    predictions = [
        Prediction("a", entities=(PERSON, PLACE), probabilities=(0.9, 0.8)),
        Prediction("b", entities=(PERSON,), probabilities=(0.7,)),
        Prediction("c"),
    ]
    probabilities, is_correct = build_task(ENTITIES).calibration_pairs(batch, predictions)
    assert probabilities.tolist() == pytest.approx([0.9, 0.8])
    assert is_correct.tolist() == [1.0, 0.0]
    probabilities, is_correct = build_task(ENTITIES).calibration_pairs(
        replace(batch, counted=torch.tensor([False, False, True])), predictions
    )
    assert probabilities.shape == is_correct.shape == (0,)


def test_calibration_pairs_of_relations_leave_out_copies(relation_batch):
    none, at = (Relation(PERSON, PLACE, label) for label in RELATIONS.labels)
    batch = replace(
        relation_batch, counted=torch.tensor([True, True, False]), relations=(none, none, at)
    )
    predictions = [
        Prediction("a", relations=(none,), probabilities=(0.9,)),
        Prediction("b", relations=(at,), probabilities=(0.6,)),
        Prediction("c", relations=(at,), probabilities=(0.5,)),
    ]
    probabilities, is_correct = build_task(RELATIONS).calibration_pairs(batch, predictions)
    assert probabilities.tolist() == pytest.approx([0.9, 0.6])
    assert is_correct.tolist() == [1.0, 0.0]


def test_decoded_ids_replace_gold(entity_batch, relation_batch):
    tags = torch.ones_like(entity_batch.tags)
    assert build_task(ENTITIES).as_gold(entity_batch, tags).tags is tags
    labels = torch.ones_like(relation_batch.labels)
    assert build_task(RELATIONS).as_gold(relation_batch, labels).labels is labels


def test_relation_metric_without_gold_labels_raises(entity_batch):
    task = build_task(RELATIONS)
    with pytest.raises(ValueError, match="set up for the task re"):
        task.update_metric(task.build_metric(), entity_batch, torch.zeros(4, dtype=torch.long))
