"""Hostile texts and posts through words, subwords, methods and files of extractions."""

import csv
import json
import time
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.hostile import (
    ODD_TEXTS,
    SURROGATES,
    check_message,
    clean_texts,
    limited_examples,
    mutated,
    texts,
)
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from seqeval.metrics.sequence_labeling import get_entities

from mmie.data.batching import Collator
from mmie.data.encoding import WordTokenizer
from mmie.data.instances import encode_posts
from mmie.data.words import find_unsplit, split_words
from mmie.grounding.detection import Detection
from mmie.grounding.phrases import noun_phrases, word_phrases
from mmie.grounding.selection import select
from mmie.inference import load_extractor
from mmie.inference.formats.text import from_json, to_json
from mmie.inference.jobs.local import extract_to_file
from mmie.inference.pairs import plausible_pairs, typed_pairs
from mmie.inference.reading import PostError
from mmie.tags import entities_to_tags, tags_to_entities
from mmie.types import Entity, Post, Relation, Schema

pytestmark = pytest.mark.slow

TAGS = ["O", *(f"{prefix}-{name}" for name in ("PER", "LOC", "A-B") for prefix in "BIES")]
SECONDS = 20
"""Longest time for a post, on a busy machine."""
LONG_TEXTS = (
    " ".join(["Jordan lands in Rome ."] * 2000),
    "x" * 20_000,
    "\U0001f600" * 3000,
    "\u05d0" * 3000,
    "www." + "." * 20_000,
    "@#" * 5000,
    "e" + "\u0301" * 20_000,
    "\u200b" * 5000,
    "https://" + "!" * 20_000,
    "\0\x01\x02 " * 2000,
)


@limited_examples()
@given(st.lists(st.sampled_from(TAGS), max_size=12))
def test_entities_of_any_tags_are_those_of_seqeval(tags):
    entities = tags_to_entities(tags)
    chunks = [(entity.type, entity.start, entity.end - 1) for entity in entities]
    assert chunks == get_entities(tags)
    for scheme in ("bio", "bioes"):
        assert tags_to_entities(entities_to_tags(entities, len(tags), scheme)) == entities


@limited_examples()
@given(texts | st.sampled_from(LONG_TEXTS))
@example("\u845b\U000e0100\u98fe\U000e0101")
def test_words_cover_a_text_except_for_spaces(text):
    """No word begins with a mark that could end the word before."""
    pieces = split_words(text)
    bounds = [0]
    for word, start, end in pieces:
        assert word
        assert text[start:end] == word
        assert not text[bounds[-1] : start].strip()
        bounds += [start, end]
    bounds.append(len(text))
    assert bounds == sorted(bounds)
    unsplit = find_unsplit(text, [(start, end) for _, start, end in pieces])
    assert not text[bounds[-2] : unsplit].strip()  # to the end, or to the bound that is read
    for (_, _, end), (word, start, _) in pairwise(pieces):
        assert end < start or not unicodedata.category(word[0]).startswith("M")


@pytest.fixture(scope="session")
def tokenizers(tiny_bert, tiny_roberta):
    """Tokenizers of two families that read 16 tokens."""
    sources = (tiny_bert, tiny_roberta)
    return [WordTokenizer.from_source(source, max_tokens=16) for source in sources]


word_tuples = st.lists(clean_texts.filter(bool), min_size=1, max_size=30).map(tuple)


@limited_examples(4)
@given(
    choice=st.data(),
    words=word_tuples,
    context=st.none() | clean_texts,
    task=st.sampled_from(["ner", "re"]),
)
def test_posts_are_encoded(tokenizers, choice, words, context, task):
    """Words keep their order, the limit of tokens holds, and entities stay on their words."""
    position = st.tuples(st.integers(0, len(words) - 1), st.integers(1, 4))
    entities = []
    for start, length in choice.draw(st.tuples(position, position)):
        entities.append(Entity(start, min(start + length, len(words)), "PER"))
    labels = ("PER", "LOC") if task == "ner" else ("None", "at")
    relations = () if task == "ner" else (Relation(*entities, "at"),)
    post = Post("1", words, context=context, entities=tuple(entities[:1]), relations=relations)
    for tokenizer in tokenizers:
        schema = Schema(task, labels, tokenizer.vocab_size, max_tokens=16)
        instances = encode_posts([post], schema, tokenizer, use_context=True)
        text = instances[0].text
        assert len(text) <= 16
        assert len(text.word_starts) <= len(words)
        assert all(-1 <= index < len(words) for index in text.token_words)
        own_words = [index for index in text.token_words if index >= 0]
        assert own_words == sorted(own_words)
        batch = Collator(schema, tokenizer.pad_id)(instances, [0])
        assert batch.input_ids.max() < tokenizer.vocab_size
        if task == "re":
            assert [text.token_words[position] for position in text.markers] == [-1, -1]
        else:
            check_tags(instances[0].tags, entities[0], len(text.word_starts))


def check_tags(tags, entity, num_words):
    """Check that BIO tag ids give one entity of the first type, cut off at a number of words."""
    names = ["O" if tag == 0 else f"{'BI'[(tag - 1) % 2]}-PER" for tag in tags]
    end = min(entity.end, num_words)
    expected = [Entity(entity.start, end, "PER")] if entity.start < end else []
    assert tags_to_entities(names) == expected


@limited_examples(4)
@given(words=st.lists(texts, max_size=20).map(tuple))
def test_phrases_for_detectors_are_few_and_distinct(words):
    for phrases_of in (word_phrases, noun_phrases):
        phrases = phrases_of(Post(words=words))
        assert len(phrases) <= 16
        assert all(phrase.strip() for phrase in phrases)
        assert len({phrase.lower() for phrase in phrases}) == len(phrases)


edges = st.integers(-(10**6), 10**6)
boxes = st.tuples(edges, edges, edges, edges)
detections = st.builds(Detection, boxes, texts, st.floats(0, 1), st.sampled_from("ab"))


@limited_examples(4)
@given(
    candidates=st.lists(detections, max_size=8),
    size=st.tuples(st.integers(1, 500), st.integers(1, 500)),
    count=st.integers(0, 4),
)
def test_selected_detections_lie_within_the_picture(candidates, size, count):
    selected = select(candidates, size, count)
    assert len(selected) <= count
    for detection in selected:
        left, top, right, bottom = detection.box
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


@pytest.fixture(scope="session")
def extractor(random_pair):
    """Extractor of entities and relations."""
    return load_extractor(random_pair["ner"], random_pair["re"], batch_size=4, workers=1)


@pytest.fixture(scope="session")
def classifier(random_pair):
    """Extractor of relations between the entities of posts."""
    return load_extractor(re=random_pair["re"], batch_size=64, workers=1)


def check_extraction(extraction) -> None:
    """Check that offsets are those of words, and that the JSON form gives the same extraction."""
    starts = [start for start, _ in extraction.offsets]
    ends = [end for _, end in extraction.offsets]
    mentions = list(extraction.entities)
    for triple in extraction.relations:
        mentions += [triple.head, triple.tail]
    for mention in mentions:
        assert extraction.text[mention.start : mention.end] == mention.text
        assert mention.start in starts
        assert mention.end in ends
        assert 0 <= mention.probability <= 1
    again = from_json(json.loads(json.dumps(to_json(extraction))))
    assert again.entities == extraction.entities
    assert again.relations == extraction.relations
    assert again.problems == extraction.problems


odd_crops = st.sampled_from(
    [
        b"",
        b"\xff\xd8",
        "absent.jpg",
        "a\0",
        Image.new("1", (1, 1)),
        Image.new("LA", (3, 900)),
        Image.new("L", (0, 0)),
        np.zeros((2, 2), np.uint8),
        np.zeros((2, 2, 2)),
        Image.new("I;16", (4, 4)),
    ]
)
odd_posts = st.builds(
    Post,
    text=texts,
    image=st.none() | odd_crops,
    crops=st.lists(odd_crops, max_size=4).map(tuple),
)


@limited_examples(25)
@given(st.lists(odd_posts, max_size=4))
def test_hostile_posts_are_extracted_from(extractor, posts):
    extractions = extractor.extract(posts)
    assert [extraction.id for extraction in extractions] == list(map(str, range(len(posts))))
    for post, extraction in zip(posts, extractions, strict=True):
        assert extraction.text == post.text.encode(errors="replace").decode()
        if not split_words(extraction.text):
            assert "text: no words" in extraction.problems
        check_extraction(extraction)


@pytest.mark.parametrize("text", LONG_TEXTS, ids=range(len(LONG_TEXTS)))
def test_long_texts_are_extracted_from_in_time(extractor, text):
    start = time.process_time()
    (extraction,) = extractor.extract([Post(text=text)])
    assert time.process_time() - start < SECONDS
    check_extraction(extraction)
    # all words are read, in windows
    assert not any(problem.startswith("text: only the first") for problem in extraction.problems)


@limited_examples(25)
@given(words=st.lists(texts, min_size=1, max_size=5).map(tuple), choice=st.data())
def test_posts_that_contradict_themselves_are_refused(classifier, words, choice):
    # the error names the post, and no other exception is raised
    offset = st.integers(-2, 7)
    entity = st.builds(Entity, offset, offset, st.sampled_from(["", "PER"]))
    entities = tuple(choice.draw(st.lists(entity, max_size=3)))
    offsets = tuple(choice.draw(st.lists(st.tuples(offset, offset), max_size=5)))
    text = choice.draw(st.none() | texts)
    relations = ()
    if choice.draw(st.booleans()):
        relations = tuple(Relation(head, tail, "x") for head, tail in pairwise(entities))
    post = Post(
        "7",
        words,
        entities=entities,
        relations=relations,
        text=text,
        offsets=offsets if text else (),
    )
    is_valid = all(0 <= entity.start < entity.end <= len(words) for entity in entities)
    try:
        (extraction,) = classifier.extract([post])
    except PostError as error:
        check_message(error, "post 7")
        assert text is not None or not is_valid
    else:
        assert is_valid
        json.dumps(to_json(extraction))


def test_of_millions_of_pairs_only_the_first_are_classified(classifier):
    count = 5000
    entities = tuple(Entity(index, index + 1, "PER") for index in range(count))
    (extraction,) = classifier.extract([Post("1", ("Ann",) * count, entities=entities)])
    far, near = extraction.problems
    assert f"of {count * (count - 1)} pairs of entities lie farther apart than" in far
    assert near.startswith("relations: only 400 of ")


@limited_examples()
@given(st.lists(st.sampled_from(["PER", "LOC", "per", "", "X"]), max_size=7), st.integers(0, 12))
def test_a_limit_of_pairs_keeps_the_first_ones_and_the_count(types, limit):
    entities = [Entity(index, index + 1, name) for index, name in enumerate(types)]
    for labels in (["None", "/per/loc/at"], ["None", "knows"]):
        pairs, count = plausible_pairs(entities, typed_pairs(labels))
        assert len(pairs) == count
        assert plausible_pairs(entities, typed_pairs(labels), limit) == (pairs[:limit], count)


def read_jsonl(file: Path) -> list[dict]:
    """Read the records of a file of JSON lines, whose texts may hold other line breaks."""
    return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]


RECORD = {"id": "1", "text": "Jordan lands in Rome", "image": "images/absent.jpg"}


@limited_examples(50)
@given(st.lists(mutated(RECORD).map(json.dumps) | clean_texts, min_size=1, max_size=9))
def test_a_job_accounts_for_every_line(extractor, tmp_path, lines):
    source, out = tmp_path / "posts.jsonl", tmp_path / "extractions.jsonl"
    content = "\n".join(line.replace("\n", " ") for line in lines)
    source.write_text(content, encoding="utf-8", newline="")
    outcome = extract_to_file(extractor, str(source), out, overwrite=True)
    extractions = read_jsonl(out)
    errors = [] if outcome.errors is None else read_jsonl(outcome.errors)
    num_lines = sum(bool(line.strip()) for line in source.read_bytes().split(b"\n"))
    assert len(extractions) + len(errors) == num_lines == outcome.totals.read


def test_a_job_reads_texts_of_every_kind(extractor, tmp_path):
    source, out = tmp_path / "posts.csv", tmp_path / "extractions.jsonl"
    without_surrogates = ODD_TEXTS[: -len(SURROGATES)]
    job_texts = [text for text in without_surrogates if "\0" not in text]
    job_texts += LONG_TEXTS[:4]
    with source.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["id", "text"], *enumerate(job_texts)])
    outcome = extract_to_file(extractor, str(source), out)
    assert (outcome.totals.read, outcome.totals.bad) == (len(job_texts), 0)
    assert [record["text"] for record in read_jsonl(out)] == job_texts
