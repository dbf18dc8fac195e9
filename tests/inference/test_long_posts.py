"""Extraction from long posts: what is found in them, what is not read, and what stays equal."""

import random
import tracemalloc
from itertools import permutations

import pytest
from helpers.oracles import oracle_predictor
from helpers.posts import write_tokenizer

from mmie.data.encoding import WordTokenizer
from mmie.data.words import MAX_WORDS
from mmie.inference import Extractor, load_pair
from mmie.inference.extractor import MAX_PAIRS
from mmie.inference.long_posts import LongText, choose_near_pairs
from mmie.inference.reading import PostError
from mmie.types import Entity, Post, Prediction, Relation

MAX_TOKENS = 40
ROOM, PAIR_ROOM = 38, 34
"""Subwords of words that a method reads of a text, and of one with the markers of a relation."""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    tokenizer = write_tokenizer(tmp_path_factory.mktemp("encoder"))
    return WordTokenizer(tokenizer.tokenizer, MAX_TOKENS)


@pytest.fixture(scope="module")
def unlimited(tokenizer):
    return WordTokenizer(tokenizer.tokenizer, 100_000)


def random_words(seed):
    """Return words of one or two subwords with entities of one or two words and sentence ends."""
    source = random.Random(seed)
    words = []
    while len(words) < 150:
        kind = source.random()
        if kind < 0.15:
            words += ["B"] + ["I"] * source.randint(0, 1)
        else:
            words.append("." if kind < 0.2 else source.choice(["o", "oo", "\ufe0f"]))
    return words


@pytest.mark.parametrize("seed", range(6))
def test_entities_of_a_long_text_are_those_without_a_limit(tokenizer, unlimited, seed):
    posts = [Post(words=tuple(random_words(seed)))]
    posts += [Post(words=("B", "o")), Post(words=tuple(random_words(seed + 100)[:60]))]
    windows = Extractor(oracle_predictor(tokenizer, "ner"), window=2)
    whole = Extractor(oracle_predictor(unlimited, "ner"))
    for extraction, other in zip(windows.extract(posts), whole.extract(posts), strict=True):
        assert extraction.problems == other.problems == ()
        spans = [(mention.start, mention.end, mention.type) for mention in extraction.entities]
        assert spans == [(mention.start, mention.end, mention.type) for mention in other.entities]
        assert len(spans) >= 1


def test_the_probability_is_that_of_the_window_where_an_entity_lies_deepest(tokenizer):
    for position in range(1, 199, 12):
        words = ["o"] * 200
        words[position] = "B"
        extractor = Extractor(oracle_predictor(tokenizer, "ner"))
        (mention,) = extractor.extract([Post(words=tuple(words))])[0].entities
        seen = []
        method = extractor.ner.method
        for batch in list(method.batches):
            method_predictions = type(method).predict(method, batch)
            for prediction in method_predictions:
                seen += prediction.probabilities
        assert mention.probability == max(seen)


def test_a_picture_is_shown_with_every_window(random_pair, demo_posts):
    image = next(post.image for post in demo_posts if post.image is not None)
    extractor = Extractor.from_checkpoint(random_pair["ner"], device="cpu")
    masks = []
    predict = extractor.ner.predict_batch

    def recorded(batch):
        masks.append(batch.view_mask[:, 0].tolist())
        return predict(batch)

    extractor.ner.predict_batch = recorded
    extractor.extract([Post(text="Jordan lands . " * 100, image=image), Post(text="Jordan")])
    assert masks[0] == [True, False]
    assert sum(map(len, masks[1:])) > 3
    assert all(all(mask) for mask in masks[1:])


def test_posts_that_fit_are_unchanged_to_the_bit(random_pair, demo_posts):
    demo_posts = demo_posts[:5]
    extractors = {}
    for long in ("windows", "truncate"):
        extractors[long] = load_pair(
            random_pair["ner"], random_pair["re"], device="cpu", long=long, batch_size=5
        )
    expected = extractors["truncate"].extract(demo_posts)
    assert any(extraction.relations for extraction in expected)
    assert extractors["windows"].extract(demo_posts) == expected
    long = Post(text="Jordan lands in Phoenix . " * 60)
    entities = {}
    for name, extractor in extractors.items():
        extractor.re = None
        extractor.min_relation_probability = 0.0
        extractions = extractor.extract([*demo_posts[:3], long, *demo_posts[3:]])
        assert extractions[3].id == "3"
        entities[name] = [extraction.entities for extraction in extractions]
    assert len(entities["windows"].pop(3)) > len(entities["truncate"].pop(3)) > 0
    assert entities["windows"] == entities["truncate"]


def test_long_texts_are_read_in_part_or_refused_on_request(random_pair):
    long = Post("p7", text="Jordan lands " * 100)
    options = {"device": "cpu", "long": "truncate"}
    (extraction,) = Extractor.from_checkpoint(random_pair["ner"], **options).extract([long])
    assert extraction.problems[0].startswith("text: only the first")
    options["long"] = "error"
    refusing = load_pair(**random_pair, **options)
    assert len(refusing.extract([Post(text="Jordan lands")])) == 1
    with pytest.raises(PostError, match=r"post p7: only the first .* let long be windows or trunc"):
        refusing.extract([long])
    refusing.ner = None
    with pytest.raises(PostError, match=r"post p7: its text has .* subwords, the method of rel"):
        refusing.extract([long])
    with pytest.raises(ValueError, match="long is 'cut': expected one of windows, truncate, error"):
        Extractor.from_checkpoint(random_pair["ner"], device="cpu", long="cut")


def place(*positions, length=120):
    """Return a post with entities of one word at some positions."""
    words = ["o"] * length
    for position in positions:
        words[position] = "B"
    entities = tuple(Entity(position, position + 1, "PER") for position in positions)
    return Post(words=tuple(words), entities=entities)


@pytest.mark.parametrize("first", [0, 1, 40, 85, 118 - (PAIR_ROOM - 1)])
@pytest.mark.parametrize("distance", [1, 2, PAIR_ROOM - 1])
def test_a_pair_within_a_window_is_read_anywhere(tokenizer, first, distance):
    post = place(first, first + distance)
    extractor = Extractor(re=oracle_predictor(tokenizer, "re"))
    (extraction,) = extractor.extract([post])
    (triple,) = extraction.relations
    starts = [extraction.offsets[index][0] for index in (first, first + distance)]
    assert [triple.head.start, triple.tail.start] == starts
    assert extraction.problems == ()
    for batch in extractor.re.method.batches:
        assert batch.word_mask.sum(1).tolist() == [PAIR_ROOM] * len(batch)


def test_a_pair_is_in_the_middle_of_its_window():
    text = LongText(list(range(0, 2 * 100 + 1, 2)), PAIR_ROOM)
    post = place(50, 55, length=100)
    window = text.window(post, Relation(*post.entities, ""))
    assert (window.start, window.end) == (45, 62)
    assert 50 - window.start == 5
    assert window.end - 56 == 6


def test_a_pair_farther_apart_than_a_window_is_named_and_not_guessed(tokenizer):
    post = place(10, 12, 12 + PAIR_ROOM)
    extractor = Extractor(re=oracle_predictor(tokenizer, "re"))
    (extraction,) = extractor.extract([post])
    assert len(extraction.relations) == 1
    expected = (
        "relations: 4 of 6 pairs of entities lie farther apart than the 34 subwords that are read "
        "at once, and were not asked about"
    )
    assert extraction.problems == (expected,)
    given = [Relation(*pair, "") for pair in permutations(post.entities, 2)]
    named = Post(words=post.words, relations=(*given[:2], given[4]))
    (extraction,) = extractor.extract([named])
    assert len(extraction.relations) == 1
    assert extraction.problems[0].startswith("relations: 2 of 3 pairs of entities lie farther")


def test_truncation_reads_a_pair_that_is_farther_apart(tokenizer):
    extractor = Extractor(re=oracle_predictor(tokenizer, "re"), long="truncate")
    (extraction,) = extractor.extract([place(10, 100)])
    assert (extraction.relations, extraction.problems) == ((), ())
    assert [batch.word_mask.sum().item() for batch in extractor.re.method.batches] == [68]


@pytest.mark.parametrize("limit", [3, 10, 1000])
def test_near_pairs_are_those_of_two_loops(limit):
    source = random.Random(limit)
    starts = sorted(source.sample(range(300), 40))
    types = ["PER", "LOC", ""]
    entities = [Entity(start, start + 1, source.choice(types)) for start in starts]
    positions = [0]
    for _ in range(301):
        positions.append(positions[-1] + source.randint(0, 2))
    text = LongText(positions, 30)
    expected = []
    for head in entities:
        for tail in entities:
            pair = Relation(head, tail, "None")
            named = not head.type or not tail.type or (head.type, tail.type) == ("PER", "LOC")
            extent = positions[max(head.end, tail.end)] - positions[min(head.start, tail.start)]
            if head != tail and named and extent <= 30:
                expected.append(pair)
    pairs, count = choose_near_pairs(entities, {("per", "loc")}, text, limit)
    assert count == len(expected) > 10
    nearest = sorted(expected, key=text.distance)[:limit]
    assert set(pairs) == set(nearest)
    assert list(pairs) == [pair for pair in expected if pair in nearest]


def test_the_pairs_of_a_long_post_are_limited(tokenizer):
    post = place(*range(0, 70), length=70)
    extractor = Extractor(re=oracle_predictor(tokenizer, "re", batch_size=64))
    (extraction,) = extractor.extract([post])
    (problem,) = [line for line in extraction.problems if "only" in line]
    assert problem.startswith(f"relations: only {MAX_PAIRS} of ")
    asked = sum(map(len, extractor.re.method.batches))
    assert asked == MAX_PAIRS


def test_a_text_of_a_million_words_takes_little_memory(tokenizer):
    text = "B oo . " * 340_000
    ner = oracle_predictor(tokenizer, "ner", batch_size=32)
    ner.method.predict = lambda batch: [Prediction(post_id) for post_id in batch.ids]
    tracemalloc.start()
    (extraction,) = Extractor(ner).extract([Post(text=text)])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(extraction.offsets) == MAX_WORDS
    assert peak < 40e6
