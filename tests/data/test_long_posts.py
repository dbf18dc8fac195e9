"""Windows of long posts: what they cover, where they begin, and what is merged from them."""

from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mmie.data.long_posts import merge_windows, split_windows
from mmie.data.truncation import truncate_words
from mmie.tags import middle_word
from mmie.types import Entity, Post, Prediction

ROOM = 64
WORDS = st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=150)
"""Subwords of each word, and whether it ends a sentence."""


def build_post(drawn, entities=()):
    """Return a post, and the number of subwords of each of its words."""
    words = tuple("end." if ends else "word" for _, ends in drawn)
    return Post("7", words, entities=tuple(entities)), [length for length, _ in drawn]


def oracle(window, entities):
    """Return the parts of entities that a window shows, as an ideal method finds them."""
    visible = []
    for entity in entities:
        start, end = max(entity.start, window.start), min(entity.end, window.end)
        if start < end:
            visible.append(Entity(start - window.start, end - window.start, entity.type))
    return Prediction("7", tuple(visible), probabilities=(0.5,) * len(visible))


@settings(deadline=None, max_examples=80)
@given(WORDS, st.integers(4, 80))
def test_windows_cover_a_post_and_each_word_belongs_to_one(drawn, room):
    post, lengths = build_post(drawn)
    windows = split_windows(post, lengths, room)
    assert (windows[0].start, windows[-1].end) == (0, len(lengths))
    for window in windows:
        assert window.start <= window.core_start <= window.core_end <= window.end
        assert sum(lengths[window.start : window.end]) <= room
    for before, after in pairwise(windows):
        assert before.start < after.start <= before.end < after.end
        assert before.core_end == after.core_start
        assert sum(lengths[after.start : before.end]) <= room // 2
    assert (windows[0].core_start, windows[-1].core_end) == (0, len(lengths))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=1, max_size=30))
def test_the_first_window_is_what_truncation_keeps(lengths):
    post = Post("7", ("word",) * len(lengths))
    pieces = [[1] * length for length in lengths]
    windows = split_windows(post, lengths, 6)
    assert windows[0].end == len(truncate_words(pieces, 6))
    assert (len(windows) == 1) == (windows[0].end == len(lengths))
    for window in windows:  # no word is lost, of a word that is too long the start is kept
        assert len(truncate_words(pieces[window.start :], 6)) == window.end - window.start


@settings(deadline=None, max_examples=80)
@given(WORDS, st.data())
def test_merged_entities_are_those_without_a_limit(drawn, data):
    drawn = drawn * 3
    entities, start = [], 0
    while start < len(drawn):
        start += data.draw(st.integers(0, 12))
        end, subwords = start, 0
        while end < len(drawn) and subwords + drawn[end][0] <= 4 and end - start < 4:
            subwords += drawn[end][0]
            end += 1
        if end > start:
            entities.append(Entity(start, end, data.draw(st.sampled_from(["PER", "LOC"]))))
        start = end + 1
    post, lengths = build_post(drawn, entities)
    windows = split_windows(post, lengths, ROOM)
    merged = merge_windows(windows, [oracle(window, entities) for window in windows], "7")
    assert merged.entities == tuple(entities)
    assert merged.id == "7"


def test_an_entity_is_found_at_every_position():
    """No position of an entity of up to a quarter of a window is at a disadvantage."""
    for start in range(0, 200 - 16, 3):
        for length in (1, 2, 8, 16):
            entity = Entity(start, start + length, "PER")
            post, lengths = build_post([(1, False)] * 200, [entity])
            windows = split_windows(post, lengths, ROOM)
            merged = merge_windows(windows, [oracle(window, [entity]) for window in windows], "7")
            assert merged.entities == (entity,)


def test_a_word_belongs_to_the_window_in_which_it_lies_deepest():
    post, lengths = build_post([(1, False)] * 200)
    windows = split_windows(post, lengths, ROOM)
    last = len(windows) - 1
    for word in range(200):
        depths = []
        for index, window in enumerate(windows):
            before = word - window.start if index else 999
            behind = window.end - 1 - word if index < last else 999
            depths.append(min(before, behind))
        owners = [window.owns(Entity(word, word + 1)) for window in windows]
        assert depths[owners.index(True)] == max(depths)


def test_windows_begin_with_a_sentence_or_a_line_where_they_can():
    drawn = [(1, index % 10 == 9) for index in range(200)]
    post, lengths = build_post(drawn)
    windows = split_windows(post, lengths, ROOM)
    assert [window.start for window in windows] == [0, 40, 80, 120, 160]
    text = "\n".join(["word " * 9 + "word"] * 20)
    offsets = tuple((5 * index, 5 * index + 4) for index in range(200))
    lines = Post("7", ("word",) * 200, text=text, offsets=offsets)
    assert [window.start for window in split_windows(lines, lengths, ROOM)] == [0, 40, 80, 120, 160]
    plain = split_windows(Post("7", ("word",) * 200), lengths, ROOM)
    assert [window.start for window in plain] == [0, 48, 96, 144]


def test_of_entities_that_share_a_word_the_more_probable_one_is_taken():
    post, lengths = build_post([(1, False)] * 100)
    first, second = split_windows(post, lengths, ROOM)
    border = first.core_end
    left, right = Entity(border - 3, border + 2, "PER"), Entity(border, border + 4, "LOC")
    other = Entity(3, 4, "ORG")
    predictions = [
        Prediction("7", (other, left), probabilities=(0.4, 0.9)),
        Prediction(
            "7", (Entity(right.start - second.start, right.end - second.start, "LOC"),), (), (0.8,)
        ),
    ]
    merged = merge_windows([first, second], predictions, "7")
    assert (merged.entities, merged.probabilities) == ((other, left), (0.4, 0.9))
    predictions[0] = Prediction("7", (other, left), probabilities=(0.4, 0.7))
    merged = merge_windows([first, second], predictions, "7")
    assert (merged.entities, merged.probabilities) == ((other, right), (0.4, 0.8))


@pytest.mark.parametrize("border_shift", range(-5, 6))
def test_a_gold_entity_belongs_to_one_window(border_shift):
    post, lengths = build_post([(1, False)] * 100)
    border = split_windows(post, lengths, ROOM)[0].core_end
    entity = Entity(border + border_shift - 2, border + border_shift + 1, "PER")
    post, lengths = build_post([(1, False)] * 100, [entity])
    owners = []
    for window in split_windows(post, lengths, ROOM):
        own = window.cut_out()
        assert own.words == post.words[window.start : window.end]
        if own.entities:
            owners.append(window)
            (moved,) = own.entities
            assert own.words[moved.start : moved.end] == post.words[entity.start : entity.end]
    (owner,) = owners
    assert owner.core_start <= middle_word(entity) < owner.core_end


@example(1)
@given(st.integers(1, 20))
@settings(deadline=None, max_examples=20)
def test_parts_of_entities_at_the_ends_of_a_window_are_visible(length):
    entity = Entity(60, 60 + length, "PER")
    post, lengths = build_post([(1, False)] * 100, [entity])
    first, second = split_windows(post, lengths, ROOM)
    for window in (first, second):
        expected = oracle(window, [entity]).entities
        assert tuple(window.visible_entities()) == expected
