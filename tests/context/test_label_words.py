"""Labels in words."""

from mmie.context.label_words import label_sentences
from mmie.types import Entity, Post, Relation

HEAD, TAIL = Entity(0, 1), Entity(2, 4)
WORDS = ("Ann", "of", "New", "York")


def test_entities_are_described_in_their_order():
    post = Post(words=WORDS, entities=(Entity(0, 1, "PER"), Entity(2, 4, "LOC")))
    assert label_sentences(post) == ["Ann is a person.", "New York is a location."]


def test_relations_are_described_without_the_types_in_their_labels():
    post = Post(words=WORDS, relations=(Relation(HEAD, TAIL, "/per/loc/place_of_birth"),))
    assert label_sentences(post) == ["The relation of Ann to New York is place of birth."]


def test_pairs_without_a_relation_are_described_as_such():
    post = Post(words=WORDS, relations=(Relation(HEAD, TAIL, "None"),))
    assert label_sentences(post) == ["The relation of Ann to New York is none."]


def test_entities_without_a_type_are_left_out():
    assert label_sentences(Post(words=WORDS, entities=(HEAD,))) == []
