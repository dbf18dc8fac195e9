"""Contexts of the demo corpus's variant in which they decide."""

from collections import Counter

import pytest
from helpers.demo import decided_by, linear_probe, post_features

from mmie.data.demo.contexts import THINGS
from mmie.types import SPLITS

pytestmark = pytest.mark.slow


def kind_of(context):
    """Type of the thing that a caption names."""
    (kind,) = [kind for kind, things in THINGS.items() if any(thing in context for thing in things)]
    return kind


def test_contexts_show_the_type_only_where_the_words_do_not(context_corpus):
    posts = [post for split in SPLITS for post in context_corpus.posts(split)]
    for post in posts:
        if decided_by(post) == "context":
            assert kind_of(post.context) == post.entities[0].type
    noise = [post for post in posts if decided_by(post) != "context"]
    hits = sum(kind_of(post.context) == post.entities[0].type for post in noise)
    assert Counter(map(decided_by, posts))["context"] == 0.7 * len(posts)
    assert 0.18 < hits / len(noise) < 0.32
    assert len({post.context for post in posts}) == 4 * 4 * 4


def test_pictures_are_random_where_the_context_decides(context_corpus):
    def probe_data(split):
        posts = [
            post
            for post in context_corpus.posts(split)
            if decided_by(post) == "context" and len(post.crops) < 2
        ]
        return post_features(posts), [post.entities[0].type for post in posts]

    probe = linear_probe().fit(*probe_data("train"))
    assert probe.score(*probe_data("test")) < 0.36
