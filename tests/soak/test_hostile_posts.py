"""Hostile texts and posts through words, subwords, models and the files that hold what was found."""

import csv
import json
import re
import time
import unicodedata
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from helpers.hostile import ODD_TEXTS, check_message, clean_texts, limited_examples, mutated, texts
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from seqeval.metrics.sequence_labeling import get_entities

from mmie.data.batching import Collator
from mmie.data.encoding import WordTokenizer
from mmie.data.instances import encode_posts
from mmie.data.words import split_words
from mmie.grounding.detection import Detection
from mmie.grounding.phrases import noun_phrases, word_phrases
from mmie.grounding.selection import select
from mmie.inference import load_extractor
from mmie.inference.formats.text import from_json, to_json
from mmie.inference.jobs.local import extract_to_file
from mmie.inference.pairs import plausible_pairs
from mmie.inference.reading import PostError
from mmie.tags import entities_to_tags, tags_to_entities
from mmie.types import Entity, Post, Relation, Schema

TYPES = ["PER", "LOC"]
TAGS = ["O", *(f"{prefix}-{name}" for name in ("PER", "LOC", "A-B") for prefix in "BIES")]
SECONDS = 20
"""More than any post may take, on a machine that is busy with other things."""
LONG = (
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
def test_tags_are_read_as_seqeval_reads_them(tags):
    found = tags_to_entities(tags)
    assert [(entity.type, entity.start, entity.end - 1) for entity in found] == get_entities(tags)
    for scheme in ("bio", "bioes"):
        assert tags_to_entities(entities_to_tags(found, len(tags), scheme)) == found


@limited_examples()
@given(texts | st.sampled_from(LONG))
@example("\u845b\U000e0100\u98fe\U000e0101")
def test_words_part_a_text(text):
    """Words in order, everything between them is space, and no mark begins a word that it could end."""
    pieces = split_words(text)
    places = [0, *(place for _, *span in pieces for place in span), len(text)]
    assert places == sorted(places)
    assert all(word and text[start:end] == word for word, start, end in pieces)
    assert not any(
        re.search(r"\S", text[gap:start])
        for gap, start in zip(places[::2], places[1::2], strict=True)
    )
    for (_, _, end), (word, start, _) in pairwise(pieces):
        assert end < start or not unicodedata.category(word[0]).startswith("M")


@pytest.fixture(scope="session")
def tokenizers(tiny_bert, tiny_roberta):
    return [
        WordTokenizer.from_source(source, max_tokens=16) for source in (tiny_bert, tiny_roberta)
    ]


words = st.lists(clean_texts.filter(bool), min_size=1, max_size=30).map(tuple)


@limited_examples(4)
@given(
    choice=st.data(),
    spelled=words,
    context=st.none() | clean_texts,
    types=st.sampled_from([TYPES, ["None", "at"]]),
)
def test_posts_are_encoded(tokenizers, choice, spelled, context, types):
    """Every word keeps its place, nothing is longer than it may be, and entities stay on their words."""
    places = st.tuples(st.integers(0, len(spelled) - 1), st.integers(1, 4))
    spans = [
        Entity(a, min(a + b, len(spelled)), "PER")
        for a, b in choice.draw(st.tuples(places, places))
    ]
    task = "ner" if types is TYPES else "re"
    relations = () if task == "ner" else (Relation(*spans, "at"),)
    post = Post("1", spelled, context=context, entities=tuple(spans[:1]), relations=relations)
    for tokenizer in tokenizers:
        schema = Schema(task, tuple(types), tokenizer.vocab_size, max_tokens=16)
        instances = encode_posts([post], schema, tokenizer, use_context=True)
        text = instances[0].text
        assert len(text) <= 16
        assert len(text.word_starts) <= len(spelled)
        assert all(-1 <= place < len(spelled) for place in text.token_words)
        kept = [place for place in text.token_words if place >= 0]
        assert kept == sorted(kept)
        batch = Collator(schema, tokenizer.pad_id)(instances, [0])
        assert batch.input_ids.max() < tokenizer.vocab_size
        if task == "re":
            assert [text.token_words[place] for place in text.markers] == [-1, -1]
        else:
            spelled_tags = [
                "O" if tag == 0 else f"{'BI'[(tag - 1) % 2]}-PER" for tag in instances[0].tags
            ]
            cut = min(spans[0].end, len(text.word_starts))
            wanted = [Entity(spans[0].start, cut, "PER")] if spans[0].start < cut else []
            assert tags_to_entities(spelled_tags) == wanted


@limited_examples(4)
@given(spelled=st.lists(texts, max_size=20).map(tuple))
def test_phrases_to_look_for(spelled):
    for source in (word_phrases, noun_phrases):
        phrases = source(Post(words=spelled))
        assert len(phrases) <= 16
        assert all(phrase.strip() for phrase in phrases)
        assert len({phrase.lower() for phrase in phrases}) == len(phrases)


edges = st.integers(-(10**6), 10**6)


@limited_examples(4)
@given(
    found=st.lists(
        st.builds(
            Detection,
            st.tuples(edges, edges, edges, edges),
            texts,
            st.floats(0, 1),
            st.sampled_from("ab"),
        ),
        max_size=8,
    ),
    size=st.tuples(st.integers(1, 500), st.integers(1, 500)),
    count=st.integers(0, 4),
)
def test_detections_become_crops(found, size, count):
    chosen = select(found, size, count)
    assert len(chosen) <= count
    for detection in chosen:
        left, top, right, bottom = detection.box
        assert 0 <= left < right <= size[0]
        assert 0 <= top < bottom <= size[1]


@pytest.fixture(scope="session")
def extractor(random_pair):
    return load_extractor(random_pair["ner"], random_pair["re"], batch_size=4, workers=1)


@pytest.fixture(scope="session")
def classifier(random_pair):
    return load_extractor(re=random_pair["re"], batch_size=64, workers=1)


def check_extraction(extraction) -> None:
    """Offsets are those of words, and JSON gives back what it was given."""
    starts, ends = ([span[side] for span in extraction.offsets] for side in (0, 1))
    for mention in (
        *extraction.entities,
        *(end for triple in extraction.relations for end in (triple.head, triple.tail)),
    ):
        assert extraction.text[mention.start : mention.end] == mention.text
        assert mention.start in starts
        assert mention.end in ends
        assert 0 <= mention.probability <= 1
    line = json.loads(json.dumps(to_json(extraction)))
    again = from_json(line)
    assert (again.entities, again.relations, again.problems) == (
        extraction.entities,
        extraction.relations,
        extraction.problems,
    )


odd_pictures = st.sampled_from(
    [
        None,
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


@limited_examples(25)
@given(
    st.lists(
        st.tuples(
            texts, odd_pictures, st.lists(odd_pictures.filter(lambda p: p is not None), max_size=4)
        ),
        max_size=4,
    )
)
def test_hostile_posts_are_answered(extractor, posts):
    given_posts = [Post(text=text, image=image, crops=tuple(crops)) for text, image, crops in posts]
    found = extractor.extract(given_posts)
    assert [extraction.id for extraction in found] == [str(place) for place in range(len(posts))]
    for post, extraction in zip(given_posts, found, strict=True):
        assert extraction.text == post.text.encode(errors="replace").decode()
        if not split_words(extraction.text):
            assert "text: no words" in extraction.problems
        check_extraction(extraction)


@pytest.mark.parametrize("text", LONG, ids=range(len(LONG)))
def test_long_texts_are_answered(extractor, text):
    started = time.process_time()
    (extraction,) = extractor.extract([Post(text=text)])
    assert time.process_time() - started < SECONDS
    check_extraction(extraction)
    if (
        len(extraction.offsets) > 64
        and len(text.translate(dict.fromkeys([0, 1, 2, 0x200B]))) > 10_000
    ):
        assert any(problem.startswith("text: only the first") for problem in extraction.problems)


@limited_examples(25)
@given(spelled=st.lists(texts, min_size=1, max_size=5).map(tuple), choice=st.data())
def test_posts_that_contradict_themselves(classifier, spelled, choice):
    """What lies outside the words is refused by name; nothing else is raised."""
    offset = st.integers(-2, 7)
    entities = tuple(
        choice.draw(
            st.lists(st.builds(Entity, offset, offset, st.sampled_from(["", "PER"])), max_size=3)
        )
    )
    offsets = tuple(choice.draw(st.lists(st.tuples(offset, offset), max_size=5)))
    text = choice.draw(st.none() | texts)
    relations = (
        tuple(Relation(*pair, "x") for pair in pairwise(entities))
        if choice.draw(st.booleans())
        else ()
    )
    post = Post(
        "7",
        spelled,
        entities=entities,
        relations=relations,
        text=text,
        offsets=offsets if text else (),
    )
    is_sound = all(0 <= entity.start < entity.end <= len(spelled) for entity in entities)
    try:
        (extraction,) = classifier.extract([post])
    except PostError as error:
        check_message(error, "post 7")
        assert text is not None or not is_sound
    else:
        assert is_sound
        json.dumps(to_json(extraction))


def test_pairs_of_many_entities(classifier):
    """400 pairs are asked about; 25 million are not made."""
    count = 5000
    post = Post(
        "1",
        ("Ann",) * count,
        entities=tuple(Entity(place, place + 1, "PER") for place in range(count)),
    )
    (extraction,) = classifier.extract([post])
    assert (
        f"relations: only 400 of {count * (count - 1)} pairs of entities were asked about"
        in extraction.problems
    )


@limited_examples()
@given(st.lists(st.sampled_from(["PER", "LOC", "per", "", "X"]), max_size=7), st.integers(0, 12))
def test_pairs_are_counted_as_they_are_made(types, most):
    entities = [Entity(place, place + 1, kind) for place, kind in enumerate(types)]
    for labels in (["None", "/per/loc/at"], ["None", "knows"]):
        every, count = plausible_pairs(entities, labels)
        first, same = plausible_pairs(entities, labels, most)
        assert (len(every), first, same) == (count, every[:most], count)


def read_jsonl(file: Path) -> list[dict]:
    """Records of a file of JSON lines, which ends in one."""
    return [json.loads(line) for line in file.read_bytes().split(b"\n")[:-1]]


LINE = {"id": "1", "text": "Jordan lands in Rome", "image": "images/absent.jpg"}


@limited_examples(50)
@given(st.lists(mutated(LINE).map(json.dumps) | clean_texts, min_size=1, max_size=9))
def test_a_job_accounts_for_every_line(extractor, tmp_path, lines):
    source, out = tmp_path / "posts.jsonl", tmp_path / "found.jsonl"
    source.write_text(
        "\n".join(line.replace("\n", " ") for line in lines), encoding="utf-8", newline=""
    )
    outcome = extract_to_file(extractor, str(source), out, overwrite=True)
    found = read_jsonl(out)
    bad = [] if outcome.errors is None else read_jsonl(outcome.errors)
    given_lines = [line for line in source.read_bytes().split(b"\n") if line.strip()]
    assert len(found) + len(bad) == len(given_lines) == outcome.totals.read


def test_a_job_over_texts_of_every_kind(extractor, tmp_path):
    source = tmp_path / "posts.csv"
    texts_given = [text for text in ODD_TEXTS[:-2] if "\0" not in text] + list(LONG[:4])
    with source.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([["id", "text"], *enumerate(texts_given)])
    outcome = extract_to_file(extractor, str(source), tmp_path / "found.jsonl")
    assert (outcome.totals.read, outcome.totals.bad) == (len(texts_given), 0)
    assert [line["text"] for line in read_jsonl(tmp_path / "found.jsonl")] == texts_given
