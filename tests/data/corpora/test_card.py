"""Cards of corpora and their notes."""

import json

import pytest
from helpers.corpora import post_record, render, write_own_corpus

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.card import CARD_FILE, read_note, write_card
from mmie.data.corpora.checks import check_corpus
from mmie.data.corpora.jsonl import JsonlCorpus
from mmie.data.corpora.statistics import corpus_stats, render_stats

NOTE = "Written by [hand] for a test."


def test_the_note_is_read_back_in_one_line(tmp_path):
    write_card(tmp_path, "two\n lines", {"share": 0.5})
    assert read_note(tmp_path) == "two lines"
    assert json.loads((tmp_path / CARD_FILE).read_text())["share"] == 0.5


def test_a_corpus_without_a_card_has_no_note(tmp_path):
    corpus = write_own_corpus(tmp_path / "own", train=[post_record(1, "train")])
    assert corpus.note == ""
    assert check_corpus(corpus).edition_notes == []


def test_counts_and_checks_print_the_note(tmp_path):
    write_own_corpus(tmp_path / "own", train=[post_record(1, "train")])
    write_card(tmp_path / "own", NOTE, {})
    corpus = JsonlCorpus(tmp_path / "own")
    assert corpus.note == NOTE
    assert check_corpus(corpus).edition_notes == [NOTE]
    assert corpus_stats(corpus)["note"] == NOTE
    table = render(render_stats(corpus_stats(corpus)))
    assert " ".join(NOTE.split()) in " ".join(table.split())


@pytest.mark.parametrize(
    "content", [b"{", b"[]", b"{}", b'{"note": 7}', b'{"note": "\xff"}', b"[" * 100_000]
)
def test_a_malformed_card_is_an_error_that_names_it(tmp_path, content):
    write_own_corpus(tmp_path / "own", train=[post_record(1, "train")])
    (tmp_path / "own" / CARD_FILE).write_bytes(content)
    with pytest.raises(CorpusError, match=CARD_FILE):
        JsonlCorpus(tmp_path / "own")
