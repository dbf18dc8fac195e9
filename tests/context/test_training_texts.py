"""Distinct training texts."""

import pytest
from helpers.corpora import mnre_line, post_record, write_mnre, write_own_corpus
from helpers.pictures import gradient_picture, save_picture

from mmie.context.errors import ContextError
from mmie.context.training_texts import PictureKeys, labelled_posts, merge_texts, text_key
from mmie.data.instances import draw_share
from mmie.types import Entity, Post

RELATION = {"head": {"start": 0, "end": 1}, "tail": {"start": 1, "end": 2}, "label": "/a/b/near"}


@pytest.fixture
def both_tasks(tmp_path):
    """Corpus with entities and relations, two relations for each post."""
    relations = [RELATION, {**RELATION, "label": "/a/b/far"}]
    records = [post_record(number, "train", relations=relations) for number in range(4)]
    return write_own_corpus(tmp_path / "corpus", train=records)


def test_texts_are_equal_whatever_their_links_case_and_punctuation():
    posts = [Post(words=("RT", "Jordan", "!")), Post(words=("rt", "JORDAN", "http://t.co/x"))]
    assert text_key(posts[0]) == text_key(posts[1])


def test_texts_without_a_word_are_not_all_equal():
    assert text_key(Post(words=("😀",))) != text_key(Post(words=("🎸",)))


def test_posts_of_one_text_are_merged_with_all_labels():
    posts = [
        Post("1", ("Ann", "won"), entities=(Entity(0, 1, "PER"),)),
        Post("2", ("Bob",)),
        Post("3", ("ann", "WON"), entities=(Entity(0, 1, "PER"), Entity(1, 2, "MISC"))),
    ]
    merged = list(merge_texts(posts, PictureKeys(posts)).values())
    assert [entry.text for entry in merged] == ["Ann won", "Bob"]
    assert merged[0].ids == {"1", "3"}
    assert merged[0].labels == [
        "Ann is a person.",
        "ann is a person.",
        "WON is a miscellaneous name.",
    ]


def test_pictures_of_equal_content_have_equal_keys(tmp_path):
    first = save_picture(tmp_path / "a.png", gradient_picture())
    second = save_picture(tmp_path / "b.png", gradient_picture())
    other = save_picture(tmp_path / "c.png", gradient_picture(50, 50))
    posts = [Post(image=file) for file in (first, second, other)]
    keys = PictureKeys(posts)
    assert keys.of(posts[0]) == keys.of(posts[1])
    assert keys.of(posts[0]) != keys.of(posts[2])


def test_missing_pictures_are_known_by_their_names(tmp_path):
    posts = [Post(image=tmp_path / "train" / "7.jpg"), Post(image=tmp_path / "test" / "7.jpg")]
    keys = PictureKeys(posts)
    assert keys.of(posts[0]) == keys.of(posts[1]) == {"7.jpg"}


def test_the_labels_are_those_of_the_task(both_tasks):
    assert {post.relations for post in labelled_posts(both_tasks, "ner")} == {()}
    relations = labelled_posts(both_tasks, "re")
    assert len(relations) == 8
    assert all(len(post.relations) == 1 and post.entities == () for post in relations)
    assert labelled_posts(both_tasks) == both_tasks.posts("train")


def test_a_share_of_several_tasks_needs_the_task(both_tasks):
    with pytest.raises(ContextError, match="--task"):
        labelled_posts(both_tasks, share=0.5)


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_impossible_shares_are_refused(both_tasks, share):
    with pytest.raises(ContextError, match="train_fraction"):
        labelled_posts(both_tasks, share=share)


def test_the_share_is_the_one_that_a_fit_draws(both_tasks):
    drawn = labelled_posts(both_tasks, "re", share=0.5, seed=7)
    instances = [(post.id, label) for post in both_tasks.posts("train") for label in "nf"]
    expected = draw_share(instances, 0.5, 7)
    assert [(post.id, post.relations[0].label[5]) for post in drawn] == expected


def test_the_task_of_a_corpus_with_one_is_known(tmp_path):
    corpus = write_mnre(tmp_path, mnre_line() * 4)
    assert len(labelled_posts(corpus, share=0.5)) == 2
