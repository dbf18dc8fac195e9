"""Retrieval of training posts, which must never show a post its own labels."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmie.context.errors import ContextError
from mmie.context.retrieval import RetrievalOptions, Retriever, compose_context
from mmie.context.search import TextSearch
from mmie.context.training_texts import TrainingText, text_words
from mmie.types import Entity, Post


class SharedWords(TextSearch):
    """Number of shared words as the score, also if it is 0."""

    def __init__(self, texts):
        self.texts = [set(text_words(text)) for text in texts]

    @property
    def identity(self):
        return {}

    def scores(self, queries) -> Iterator[np.ndarray]:
        for query in queries:
            words = set(text_words(query))
            yield np.array([len(words & text) for text in self.texts], np.float32)


def ann(name, *words, image=None):
    """A post about a person at its start."""
    return Post(name, ("Ann", *words), image=image, entities=(Entity(0, 1, "PER"),))


def original(name):
    """The id before it was made unique."""
    return name.split("#")[0]


POSTS = st.builds(
    Post,
    id=st.sampled_from(["1", "2", "3", "1#2", "2#2"]),
    words=st.lists(
        st.sampled_from(["a", "A", "b", "!", "http://t.co/1"]), min_size=1, max_size=3
    ).map(tuple),
    image=st.sampled_from([None, "x/1.jpg", "y/1.jpg", "2.jpg"]),
    more_images=st.sampled_from([(), ("z/2.jpg",), ("3.jpg",)]),
)
SPLIT = st.lists(POSTS, max_size=6, unique_by=lambda post: post.id)


@settings(max_examples=40, deadline=None)
@given(train=SPLIT, test=SPLIT, k=st.integers(1, 6))
def test_no_post_is_shown_its_own_text_picture_or_id(train, test, k):
    retriever = Retriever(train, {"train": train, "test": test}, SharedWords)
    names = {post.id for post in train}
    by_id = {post.id: post for post in train}
    for split, posts in (("train", train), ("test", test)):
        for post, neighbours in zip(posts, retriever.neighbours(split, k), strict=True):
            assert len(neighbours) <= k
            shown = {name for entry in neighbours for name in entry.ids}
            assert shown <= names
            for name in shown:
                other = by_id[name]
                assert text_words(" ".join(other.words)) != text_words(" ".join(post.words)) or (
                    other.words != post.words and not text_words(" ".join(post.words))
                )
                own = {str(image).split("/")[-1] for image in post.images}
                assert not own & {str(image).split("/")[-1] for image in other.images}
                if split == "train" and original(post.id) in names:
                    assert original(name) != original(post.id)


def test_validation_and_test_posts_are_never_returned():
    train, test = [ann("1", "won")], [ann("2", "won", "today"), ann("3", "won", "again")]
    retriever = Retriever(train, {"train": train, "test": test}, SharedWords)
    assert [[entry.text for entry in found] for found in retriever.neighbours("test", 3)] == [
        ["Ann won"],
        ["Ann won"],
    ]
    assert list(retriever.neighbours("train", 3)) == [[]]


def test_a_test_post_may_have_the_id_of_a_training_post():
    train, test = [ann("1", "won")], [ann("1", "won", "today")]
    retriever = Retriever(train, {"test": test}, SharedWords)
    assert retriever.contexts("test", RetrievalOptions()) == {"1": "Ann won Ann is a person."}


def test_posts_that_had_the_same_id_are_not_shown_to_each_other():
    train = [ann("1", "x"), ann("1#2", "x", "y"), ann("2#2", "x", "z")]
    retriever = Retriever(train, {"train": train}, SharedWords)
    assert [len(texts) for texts in retriever.neighbours("train", 3)] == [1, 1, 2]


def test_the_most_similar_texts_come_first_and_equals_in_their_order():
    train = [ann("1", "x"), ann("2", "x", "y"), ann("3", "z")]
    retriever = Retriever(train, {"test": [ann("4", "y", "x", "w")]}, SharedWords)
    [found] = retriever.neighbours("test", 2)
    assert [entry.text for entry in found] == ["Ann x y", "Ann x"]


def test_a_context_keeps_whole_texts_within_its_words():
    texts = [TrainingText("a b c", ["d."]), TrainingText("e f", ["g."]), TrainingText("h", ["i."])]
    assert compose_context(texts, RetrievalOptions(max_words=7)) == "a b c d. e f g."
    assert compose_context(texts, RetrievalOptions(max_words=6)) == "a b c d."
    assert compose_context(texts, RetrievalOptions(max_words=3)) == "a b c"


def test_the_template_forms_a_text():
    options = RetrievalOptions(template="Like: {labels}")
    assert compose_context([TrainingText("a", ["b.", "c."])], options) == "Like: b. c."


def test_a_template_without_gaps_is_refused():
    with pytest.raises(ContextError, match=r"expected \{text\} and \{labels\}"):
        RetrievalOptions(template="labels")
