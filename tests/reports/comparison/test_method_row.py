"""Scores and cost of one system."""

import pytest
from helpers.comparison import groups_of
from helpers.run_folders import GOOD_LINES, change_metrics, write_run

from mmie.reports.comparison.method_row import build_method_row
from mmie.reports.statistics import mean_and_deviation


def row_of(*folders, types=("PER", "LOC")):
    (group,) = groups_of(*folders)
    (system,) = group.systems
    return build_method_row(system, types)


def test_scores_and_cost_are_averaged_over_seeds(tmp_path):
    tests = {"test_shuffled": {"test/f1": 0.25}, "test_none": {"test/f1": 0.125}}
    row = row_of(
        write_run(tmp_path / "a", GOOD_LINES, 0.75, seed=1, sections=tests),
        write_run(tmp_path / "b", GOOD_LINES, 0.25, seed=2),
    )
    assert (row.name, row.seeds) == ("RAP", (1, 2))
    assert row.folders == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert row.scores["f1"] == mean_and_deviation([0.75, 0.25])
    assert row.by_type["LOC"]["recall"].mean == 0.5
    assert row.pictures == {
        "right": mean_and_deviation([0.75, 0.25]),
        "shuffled": mean_and_deviation([0.25]),
        "none": mean_and_deviation([0.125]),
    }
    assert row.curves == {1: (0.25, 0.75), 2: (0.25, 0.75)}
    assert row.cost["minutes_to_best"] == pytest.approx(2)
    assert (row.cost["peak_memory_gib"], row.cost["peak_gpu_memory_gib"]) == (1.5, None)
    assert row.published.scores.f1 == 87.76
    assert "CFU" in row.remark


def test_a_run_without_predictions_and_without_a_fit_has_a_row(tmp_path):
    folder = write_run(tmp_path / "run", lines=None)
    change_metrics(folder, fit=None)
    row = row_of(folder)
    assert row.scores["f1"].mean == 0.5
    assert (row.by_type, row.curves, row.cost) == ({}, {}, None)
