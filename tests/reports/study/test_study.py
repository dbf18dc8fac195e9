"""Results of studies, with run folders written by hand."""

import pytest
from helpers.studies import write_cross_domain, write_cross_task, write_low_resource

from mmie.reports.study.study import summarise_study
from mmie.runs import RunError


def test_shares_are_compared_with_the_largest(tmp_path):
    study = summarise_study("low-resource", write_low_resource(tmp_path / "dghc"), 200)
    small, large = study.rows
    assert small.scores["f1"].values == (0.25, 0.25)
    assert (small.published, large.published) == (None, 73.93)
    assert (small.against.first, small.against.second) == ("25 %", "100 %")
    assert small.against.seeds == ((1, 1), (2, 2))
    assert small.against.difference == pytest.approx(-1)
    assert large.against is None
    assert study.reported == ()


def test_weights_of_the_other_task_are_compared_with_own_weights(tmp_path):
    sources = write_cross_task(tmp_path)
    study = summarise_study("cross-task", sources, 200)
    assert [row.published for row in study.rows] == [87.62, 87.94, 83.01, 83.80]
    assert [row.against is None for row in study.rows] == [True, False, True, False]
    assert study.rows[1].against.difference == pytest.approx(1)
    # Two differences are adjusted for their number.
    assert study.rows[1].against.p_randomization == pytest.approx(1 / 201)
    assert study.rows[1].against.p_bootstrap == pytest.approx(0.1)  # one seed
    assert study.rows[1].against.p_holm == pytest.approx(0.2)
    assert {(row.method, row.f1) for row in study.reported} == {
        ("IMM", 83.80),
        ("IMM", 87.94),
        ("HVPNet", 82.50),
        ("HVPNet", 87.31),
    }


def test_tests_without_predictions_are_not_compared(tmp_path):
    study = summarise_study("cross-domain", write_cross_domain(tmp_path), 200)
    assert [row.against for row in study.rows] == [None] * 4
    assert [row.published for row in study.rows] == [73.93, 66.56, 87.35, 60.81]
    reported = {(row.method, row.f1) for row in study.reported}
    assert reported >= {("DGHC", 60.81), ("MLNet", 66.28)}


def test_a_folder_without_a_run_is_an_error(tmp_path):
    sources = write_low_resource(tmp_path / "dghc")
    with pytest.raises(RunError, match="holds no tested run"):
        summarise_study("low-resource", {**sources, tmp_path / "gone" / "seed_1": None})
