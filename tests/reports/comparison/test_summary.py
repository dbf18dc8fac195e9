"""Content of a comparison, with run folders written by hand."""

import pytest
from helpers.comparison import summary_of
from helpers.run_folders import BAD_LINES, GOLD, GOOD_LINES, prediction_line, write_run

from mmie.reports.comparison.insight import Insight
from mmie.reports.statistics import mean_and_deviation


def test_a_summary_holds_the_scores_of_the_predictions(tmp_path):
    summary = summary_of(
        write_run(tmp_path / "a", GOOD_LINES, 0.75, seed=1),
        write_run(tmp_path / "b", GOOD_LINES, 0.25, seed=2),
        write_run(tmp_path / "c", BAD_LINES, 0.5, seed=2, method="mmie.methods.IMM"),
    )
    imm, rap = summary.rows
    assert rap.scores["f1"] == mean_and_deviation([0.75, 0.25])
    assert imm.seeds == (2,)
    assert (summary.posts, summary.support) == (2, {"LOC": 2, "PER": 2})
    assert rap.by_type["LOC"]["recall"].mean == 0.5
    (pair,) = summary.differences
    assert (pair.first, pair.seeds) == ("IMM", ((2, 2),))
    assert pair.difference == pytest.approx(2 * 1 / 7 - 2 * 3 / 7)
    assert pair.p_holm == pair.p_bootstrap >= 0.1  # one seed
    assert summary.confusions["RAP"] == [[2, 0, 2], [0, 4, 0], [0, 0, 0]]
    assert summary.slices == ()  # both posts are short, and neither has a picture
    assert summary.uniform == {
        "Length of the post": "1 to 8 words",
        "Picture of the post": "no picture",
    }
    assert (summary.verdict.leader, summary.verdict.is_significant) == ("IMM", None)  # equal F1
    assert [post.id for post in summary.disagreements] == ["1", "2"]
    assert summary.disagreements[0].missed == {"IMM": 2, "RAP": 0}
    assert any("cannot be read here" in note for note in summary.notes)


def test_predictions_for_other_instances_are_not_compared(tmp_path):
    other = [prediction_line("1", GOLD[:1], GOLD), prediction_line("2", GOLD, GOLD)]
    summary = summary_of(
        write_run(tmp_path / "a"), write_run(tmp_path / "b", other, method="mmie.methods.IMM")
    )
    assert "other posts or gold" in summary.notes[0]
    assert summary.differences == ()
    assert len(summary.rows) == 2


def test_three_systems_give_three_differences(tmp_path):
    methods = ("IMM", "RAP", "MLNet")
    folders = [write_run(tmp_path / name, method=f"mmie.methods.{name}") for name in methods]
    differences = summary_of(*folders).differences
    assert [(pair.first, pair.second) for pair in differences] == [
        ("IMM", "MLNet"),
        ("IMM", "RAP"),
        ("MLNet", "RAP"),
    ]


def test_no_demo_corpus_is_generated(tmp_path):
    root = tmp_path / "demo"
    summary = summary_of(write_run(tmp_path / "run", corpus="mmie.data.DemoCorpus", root=root))
    assert summary.text_bound is None
    assert not root.exists()


def test_the_first_run_of_each_system_is_explained(tmp_path):
    folders = []
    for method in ("IMM", "RAP", "TextOnly"):
        for seed in (1, 2):
            folder = tmp_path / method / str(seed)
            folders.append(write_run(folder, seed=seed, method=f"mmie.methods.{method}"))
    outcomes = {"IMM": Insight(1, 0, (), ""), "RAP": "not possible", "TextOnly": None}
    explained = []

    def explain(run):
        explained.append((run.method, run.seed))
        return outcomes[run.method]

    summary = summary_of(*folders, explain=explain)
    assert explained == [("IMM", 1), ("RAP", 1), ("TextOnly", 1)]
    assert summary.insights == {"IMM": outcomes["IMM"]}
    assert "not possible" in summary.notes
