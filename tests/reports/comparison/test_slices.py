"""Scores on parts of a test split."""

import pytest
from helpers.command import write_jsonl
from helpers.comparison import groups_of
from helpers.run_folders import GOLD, entity, prediction_line, write_picture_corpus, write_run
from PIL import Image

from mmie.reports.comparison.slices import is_telling, slice_scores


def systems_of(folder):
    (group,) = groups_of(folder)
    return group.systems


def test_entities_are_sliced_by_occurrences_in_training_and_by_picture(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "there.png")
    root, names = tmp_path / "corpus", ("there.png", "gone.png")
    write_picture_corpus(root, names, tmp_path / "there.png")
    (root / "gone.png").unlink()
    posts = [{"id": "1", "words": ["JORDAN", "rests"], "entities": [entity(0, "LOC")]}]
    write_jsonl(root / "train.jsonl", posts)
    lines = [
        prediction_line("1", GOLD, GOLD, image=str(root / "there.png")),
        prediction_line("2", GOLD[:1], [], image=str(root / "gone.png")),
        prediction_line("3", GOLD[1:], [entity(3, "PER")]),
    ]
    run = write_run(
        tmp_path / "run", lines, corpus="mmie.data.JsonlCorpus", root=tmp_path / "corpus"
    )
    slices, notes = slice_scores(systems_of(run))
    assert notes == []
    length, picture, training = slices
    assert "Length" in length.title
    assert dict(zip(training.parts, training.gold, strict=True)) == {"unseen": 2, "once": 2}
    assert [score.mean for score in training.f1["RAP"]] == pytest.approx([1 / 2, 2 / 3])
    assert picture.parts == ("picture", "picture file not found", "no picture")
    assert [score.mean for score in picture.f1["RAP"]] == pytest.approx([1, 0, 0])


def test_posts_are_sliced_by_length(tmp_path):
    words = ["word"] * 30
    lines = [
        prediction_line("1", GOLD, GOLD),
        prediction_line("2", GOLD, [], words[:9]),
        prediction_line("3", GOLD, GOLD, words),
    ]
    slices, notes = slice_scores(systems_of(write_run(tmp_path / "run", lines)))
    length = slices[0]
    assert length.parts == ("1 to 8 words", "9 to 16 words", "25 words or more")
    assert length.gold == (2, 2, 2)
    assert [score.mean for score in length.f1["RAP"]] == [1, 0, 1]
    assert any("cannot be read here" in note for note in notes)
    assert is_telling(length)
    assert [part.parts for part in slices if not is_telling(part)] == [("no picture",)]


def test_without_systems_there_are_no_slices():
    assert slice_scores([]) == ((), [])
