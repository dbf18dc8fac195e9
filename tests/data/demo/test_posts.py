"""Posts of the demo corpus: their groups, their words, and what decides their labels."""

from collections import Counter, defaultdict
from itertools import pairwise

import pytest
from helpers.demo import decided_by, group_by_words, linear_probe, post_features

from mmie.data.demo.posts import Sentences
from mmie.types import NO_RELATION, SPLITS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("split", SPLITS)
def test_composition(corpus, split):
    posts = corpus.posts(split)
    assert len(posts) == {"train": 960, "valid": 240, "test": 480}[split]
    shares = {name: count / len(posts) for name, count in Counter(map(decided_by, posts)).items()}
    assert shares == pytest.approx({"picture": 0.7, "noise": 0.2, "both": 0.1})
    assert all(len(post.entities) == 2 and len(post.relations) == 1 for post in posts)
    assert all(5 <= len(post.words) <= 20 for post in posts)
    assert all((post.relations[0].head, post.relations[0].tail) == post.entities for post in posts)
    types = Counter(entity.type for post in posts for entity in post.entities)
    assert len(types) == 4
    assert len(set(types.values())) == 1


@pytest.mark.parametrize("split", SPLITS)
def test_groups_of_four(corpus, split):
    for posts in group_by_words(corpus.posts(split)).values():
        assert len({decided_by(post) for post in posts}) == 1
        spans = {tuple((entity.start, entity.end) for entity in post.entities) for post in posts}
        types = {entity.type for post in posts for entity in post.entities}
        labels = {relation.label for post in posts for relation in post.relations}
        expected = {"picture": (4, 4, 4), "noise": (4, 1, 1), "both": (1, 1, 1)}[
            decided_by(posts[0])
        ]
        assert (len(posts), len(types), len(labels)) == expected
        assert len(spans) == 1
        assert all(len({entity.type for entity in post.entities}) == 1 for post in posts)


def test_unrelated_names_are_so_by_the_text(corpus):
    posts = [post for split in SPLITS for post in corpus.posts(split)]
    unrelated = [post for post in posts if post.relations[0].label == NO_RELATION]
    assert unrelated
    assert all(("unrelated" in post.words) == (post in unrelated) for post in posts)
    assert all(decided_by(post) != "picture" for post in unrelated)


def test_sentences_and_pictures_are_distinct(corpus):
    words = [set(group_by_words(corpus.posts(split))) for split in SPLITS]
    assert len(set.union(*words)) == sum(map(len, words))
    pictures = [post.image.read_bytes() for split in SPLITS for post in corpus.posts(split)]
    assert len(set(pictures)) == len(pictures)


def test_names_are_independent_of_the_type(corpus):
    counts = defaultdict(Counter)
    for post in corpus.posts("test"):
        if decided_by(post) == "picture":
            for entity in post.entities:
                counts[post.words[entity.start : entity.end]][entity.type] += 1
    assert len(counts) >= 20
    assert all(len(types) == 4 and len(set(types.values())) == 1 for types in counts.values())


def test_words_that_are_hard_to_align_occur(corpus):
    words = {word for post in corpus.posts("test") for word in post.words}
    assert {"\ufe0f", "\U0001f602", "#weekend", "@newsdesk"} <= words
    spans = [entity for post in corpus.posts("test") for entity in post.entities]
    assert {entity.end - entity.start for entity in spans} == {1, 2}
    assert any(entity.start == 0 for entity in spans)
    assert any(
        entity.end == len(post.words) for post in corpus.posts("test") for entity in post.entities
    )


def test_pictures_show_the_type_unless_they_are_noise(corpus):
    def posts(split, *kinds):
        return [
            post
            for post in corpus.posts(split)
            if decided_by(post) in kinds and len(post.crops) < 2
        ]

    def types(posts):
        return [post.entities[0].type for post in posts]

    train, fitting, noise = (
        posts("train", "picture"),
        posts("test", "picture", "both"),
        posts("test", "noise"),
    )
    probe = linear_probe().fit(post_features(train), types(train))
    assert probe.score(post_features(fitting), types(fitting)) > 0.9
    assert probe.score(post_features(noise), types(noise)) < 0.45


def test_running_out_of_sentences_is_an_error():
    class Constant:
        def choice(self, count, size, replace):
            return [0, 1]

        def integers(self, count):
            return 0

    sentences = Sentences(Constant())
    words = sentences.draw().words
    assert words == ("Amazon", "and", "Apollo", "tonight", "!")
    with pytest.raises(ValueError, match="ask for fewer posts"):
        sentences.draw()
    assert all(a != b for a, b in pairwise([words, sentences.draw("PER").words]))
