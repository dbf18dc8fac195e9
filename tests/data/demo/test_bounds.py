"""Text-only bounds, compared with the best score of any function of the words."""

import json

import pytest
from helpers.demo import SMALL, best_f1, decided_by, gold_by_key, group_by_words
from rich.console import Console
from seqeval.metrics import f1_score
from sklearn.metrics import f1_score as multiclass_f1

from mmie.data.demo import DemoBounds, DemoCorpus, TextBound, render_bounds, write_demo
from mmie.tags import entities_to_tags
from mmie.types import NO_RELATION, SPLITS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("split", SPLITS)
def test_bounds_equal_the_best_score_of_functions_of_the_words(corpus, split):
    gold = gold_by_key(lambda post: post.words, corpus.posts(split))
    assert best_f1(gold["ner"]) == pytest.approx(corpus.bounds.score("ner", split), abs=1e-12)
    assert best_f1(gold["re"]) == pytest.approx(corpus.bounds.score("re", split), abs=1e-12)


@pytest.mark.parametrize("noise", [0.0, 0.2, 0.8])
def test_predictions_from_the_words_reach_the_bounds(tmp_path, noise):
    write_demo(tmp_path / "demo", noise=noise, **SMALL)
    corpus = DemoCorpus(tmp_path / "demo")
    posts = corpus.posts("test")
    known = {words: group[0] for words, group in group_by_words(posts).items()}
    gold = [entities_to_tags(post.entities, len(post.words), "bio") for post in posts]
    guess = [entities_to_tags(known[post.words].entities, len(post.words), "bio") for post in posts]
    sure = [decided_by(post) != "picture" for post in posts]
    abstain = [tags if keep else ["O"] * len(tags) for tags, keep in zip(guess, sure, strict=True)]
    assert max(f1_score(gold, guess), f1_score(gold, abstain)) == pytest.approx(
        corpus.bounds.score("ner")
    )

    gold = [post.relations[0].label for post in posts]
    guess = [known[post.words].relations[0].label for post in posts]
    abstain = [label if keep else NO_RELATION for label, keep in zip(guess, sure, strict=True)]
    labels = [label for label in corpus.relation_labels if label != NO_RELATION]
    scores = [
        multiclass_f1(gold, prediction, labels=labels, average="micro")
        for prediction in (guess, abstain)
    ]
    assert max(scores) == pytest.approx(corpus.bounds.score("re"))


def test_leaving_out_is_best_where_the_text_decides_most():
    assert TextBound("ner", "test", 9, 3).score == pytest.approx(
        max(2 * 9 / (12 + 9), (9 + 0.75) / 12)
    )
    assert TextBound("ner", "test", 9, 3).score == pytest.approx(18 / 21)
    assert TextBound("ner", "test", 0, 4).score == 0.25
    assert TextBound("ner", "test", 4, 0).score == 1.0


def test_bounds_are_read_back_and_rendered(corpus, default_root):
    assert DemoBounds.read(default_root / "bounds.json") == corpus.bounds
    stored = json.loads((default_root / "bounds.json").read_text())["bounds"]
    assert [entry["score"] for entry in stored] == [bound.score for bound in corpus.bounds.bounds]
    console = Console(width=120)
    with console.capture() as capture:
        console.print(render_bounds(corpus.bounds))
    lines = capture.get().splitlines()
    assert any("ner" in line and "test" in line and "47.50" in line for line in lines)
    assert any("re" in line and "test" in line and "41.67" in line for line in lines)


@pytest.mark.parametrize("split", SPLITS)
def test_words_and_context_reach_one(corpus, context_corpus, split):
    posts, plain = context_corpus.posts(split), corpus.posts(split)
    assert [(post.words, post.entities, post.relations) for post in posts] == [
        (post.words, post.entities, post.relations) for post in plain
    ]
    for task, items in gold_by_key(lambda post: post.words, posts).items():
        assert best_f1(items) == pytest.approx(context_corpus.bounds.score(task, split), abs=1e-12)
        assert context_corpus.bounds.score(task, split) == corpus.bounds.score(task, split)
    for items in gold_by_key(lambda post: (post.words, post.context), posts).values():
        assert best_f1(items) == 1.0


def test_bounds_record_the_variant(context_corpus):
    assert context_corpus.bounds.context is True
    assert DemoBounds.read(context_corpus.root / "bounds.json") == context_corpus.bounds
    console = Console(width=120)
    with console.capture() as capture:
        console.print(render_bounds(context_corpus.bounds))
    assert "text and context" in capture.get()
