"""What systems lose with other pictures."""

import pytest
from helpers.command import write_jsonl
from helpers.comparison import groups_of
from helpers.run_folders import BAD_LINES, GOLD, GOOD_LINES, prediction_line, write_run

from mmie.reports.comparison.picture_use import picture_losses

MANY = [prediction_line(str(number), GOLD, GOLD) for number in range(12)]
WRONG = [prediction_line(str(number), GOLD, []) for number in range(12)]


def losses_of(*folders, resamples=400):
    (group,) = groups_of(*folders)
    (system,) = group.systems
    return picture_losses(system, resamples)


def test_losses_are_over_the_runs_that_have_both_tests(tmp_path):
    tests = {"test_shuffled": {"test/f1": 0.25}, "test_none": {"test/f1": 0.5}}
    first = write_run(tmp_path / "a", MANY, 0.75, seed=1, sections=tests)
    second = write_run(
        tmp_path / "b", MANY, 0.85, seed=2, sections={"test_none": {"test/f1": 0.45}}
    )
    write_jsonl(first / "predictions_shuffled.jsonl", WRONG)
    losses = losses_of(first, second)
    shuffled, none = losses["shuffled"], losses["none"]
    assert (shuffled.seeds, shuffled.right, shuffled.replaced) == ((1,), 0.75, 0.25)
    assert shuffled.loss == pytest.approx(0.5)
    # Each of 12 posts loses all. Only if all are swapped, or none, is a difference as large.
    assert shuffled.p_value < 0.02
    assert none.seeds == (1, 2)
    assert none.loss == pytest.approx(0.8 - 0.475)
    assert none.p_value is None  # no predictions


def test_predictions_of_other_posts_are_not_tested(tmp_path):
    run = write_run(tmp_path / "a", GOOD_LINES, sections={"test_shuffled": {"test/f1": 0.25}})
    for lines in (BAD_LINES[:1], [prediction_line("9", GOLD, []), BAD_LINES[1]], [{"id": 1}]):
        write_jsonl(run / "predictions_shuffled.jsonl", lines)
        assert losses_of(run)["shuffled"].p_value is None
    write_jsonl(run / "predictions_shuffled.jsonl", BAD_LINES)
    assert losses_of(run)["shuffled"].p_value is not None


def test_a_run_of_shuffled_pictures_loses_nothing(tmp_path):
    assert losses_of(write_run(tmp_path / "a")) == {}
