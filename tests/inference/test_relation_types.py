"""Types that limit relations: where they come from, and what they leave."""

import json
from dataclasses import replace

import pytest
import torch

from mmie.checkpoints import Checkpoint, read_checkpoint
from mmie.inference import Extractor, load_pair
from mmie.inference.relation_types import (
    RelationTypes,
    RelationTypesError,
    find_relation_types,
)
from mmie.types import Entity, Post, Relation, Schema

SCHEMA = Schema("re", ("None", "/per/loc/home", "/ORG/loc/seat", "knows"), 10)
CHECKPOINT = Checkpoint("a.ckpt", "package.Method", {}, SCHEMA, {})
ANN, ROME, SOMETHING = Entity(0, 1, "PER"), Entity(1, 2, "Loc"), Entity(2, 3)


@pytest.mark.parametrize(
    ("label", "head", "tail", "expected"),
    [
        ("home", "PER", "LOC", True),
        ("home", "per", "loc", True),
        ("home", "LOC", "PER", False),
        ("home", "", "PER", True),
        ("None", "LOC", "PER", True),
        ("knows", "LOC", "PER", True),
    ],
)
def test_a_label_is_allowed_between_its_types(label, head, tail, expected):
    types = RelationTypes.of({"home": [("Per", "LOC")], "None": []})
    assert types.allows(label, head, tail) is expected


def test_a_mask_has_a_row_for_each_pair():
    types = RelationTypes.of({"/per/loc/home": [("PER", "LOC")], "/ORG/loc/seat": [("ORG", "LOC")]})
    pairs = [Relation(ANN, ROME, ""), Relation(ROME, ANN, ""), Relation(SOMETHING, ROME, "")]
    expected = [[True, True, False, True], [True, False, False, True], [True] * 4]
    assert torch.equal(types.mask(pairs, SCHEMA.labels), torch.tensor(expected))
    assert types.pairs(SCHEMA.labels) is None
    assert types.pairs(SCHEMA.labels[:3]) == {("per", "loc"), ("org", "loc")}


def test_settings_name_labels_training_or_a_file(tmp_path):
    assert find_relation_types("any", CHECKPOINT) is None
    named = find_relation_types("labels", CHECKPOINT)
    assert named.allowed == {
        "/per/loc/home": {("per", "loc")},
        "/ORG/loc/seat": {("org", "loc")},
    }
    trained = replace(CHECKPOINT, relation_types={"knows": [("PER", "PER"), ("PER", "ORG")]})
    assert find_relation_types("training", trained).allowed == {
        "knows": {("per", "per"), ("per", "org")}
    }
    file = tmp_path / "types.json"
    file.write_text('{"knows": [["PER", "PER"]]}')
    assert find_relation_types(file, CHECKPOINT).allowed == {"knows": {("per", "per")}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no file that can be read .*; without a file, relation_types is any, labels or tr"),
        ("{", "what is no JSON"),
        ("[]", "expected a JSON object of labels and pairs of types, found"),
        ('{"knows": [["PER"]]}', "found .* for 'knows'"),
        ('{"knows": "PER"}', "found 'PER' for 'knows'"),
        ('{"knows": [], "knows": []}', "knows"),
        ('{"owns": []}', "the label 'owns' is none of 'a.ckpt': expected some of None, /per"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path, content, message):
    file = tmp_path / "types.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(RelationTypesError, match=message):
        find_relation_types(str(file), CHECKPOINT)


def test_types_that_are_not_known_are_refused(random_pair):
    with pytest.raises(RelationTypesError, match=r"'a\.ckpt' holds no types of its training data"):
        find_relation_types("training", CHECKPOINT)
    untyped = replace(CHECKPOINT, schema=replace(SCHEMA, labels=("None", "knows")))
    with pytest.raises(RelationTypesError, match=r"no label of 'a\.ckpt' names types"):
        find_relation_types("labels", untyped)
    with pytest.raises(RelationTypesError, match="no method for relations is named"):
        Extractor.from_checkpoint(random_pair["ner"], device="cpu", relation_types="labels")


def test_a_checkpoint_holds_the_types_of_its_training_data(random_pair, demo_data, tiny_bert):
    data = demo_data("re", tiny_bert)
    checkpoint = read_checkpoint(random_pair["re"])
    assert checkpoint.relation_types == data.relation_types != {}
    for label, pairs in checkpoint.relation_types.items():
        assert pairs == [tuple(part.upper() for part in label.split("/")[1:3])]
    assert read_checkpoint(random_pair["ner"]).relation_types == {}


def test_relations_stand_between_the_types_that_they_allow(random_pair, demo_posts, tmp_path):
    posts = [Post(words=post.words, image=post.image) for post in demo_posts[:4]]
    options = {"device": "cpu", "batch_size": 8}
    free = load_pair(**random_pair, **options).extract(posts)
    wrong = [triple for extraction in free for triple in extraction.relations if not fits(triple)]
    assert wrong
    limited = load_pair(**random_pair, **options, relation_types="labels").extract(posts)
    assert all(fits(triple) for extraction in limited for triple in extraction.relations)
    for extraction, other in zip(limited, free, strict=True):
        assert extraction.entities == other.entities
    labels = [label for label in read_checkpoint(random_pair["re"]).schema.labels if "/" in label]
    file = tmp_path / "none.json"
    file.write_text(json.dumps({label: [] for label in labels}))
    nothing = load_pair(**random_pair, **options, relation_types=file).extract(posts)
    assert not any(extraction.relations for extraction in nothing)


def fits(triple):
    """Tell whether a triple's label names the types of its head and tail."""
    return triple.label.upper().startswith(f"/{triple.head.type}/{triple.tail.type}/")


def test_less_probable_results_are_left_out(random_pair, demo_posts):
    least = 0.5
    posts = [Post(words=post.words, image=post.image) for post in demo_posts[:4]]
    extractor = load_pair(**random_pair, device="cpu", batch_size=8)
    everything = extractor.extract(posts)
    extractor.min_probability, extractor.min_relation_probability = 0.0, least
    for extraction, other in zip(extractor.extract(posts), everything, strict=True):
        assert extraction.entities == other.entities
        kept = [triple for triple in other.relations if triple.probability >= least]
        assert list(extraction.relations) == kept
    extractor.re, extractor.min_probability = None, least
    for extraction, other in zip(extractor.extract(posts), everything, strict=True):
        kept = [mention for mention in other.entities if mention.probability >= least]
        assert list(extraction.entities) == kept


def test_least_probabilities_out_of_range_are_refused(random_pair):
    with pytest.raises(ValueError, match=r"a least probability is 1\.5: expected one from 0 to 1"):
        load_pair(**random_pair, device="cpu", min_relation_probability=1.5)
    with pytest.raises(ValueError, match="given, but no method for relations"):
        Extractor.from_checkpoint(random_pair["ner"], device="cpu", min_relation_probability=0.5)
