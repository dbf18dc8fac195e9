"""Diagnosis of a run for a comparison. `tests/cli/test_reports.py` diagnoses real runs."""

from helpers.run_folders import write_run

from mmie.reports.comparison.insight import explain_run
from mmie.runs import read_run


def test_a_run_without_a_checkpoint_gives_the_reason(tmp_path, demo_root):
    folder = write_run(tmp_path / "run", corpus="mmie.data.JsonlCorpus", root=demo_root)
    reason = explain_run(read_run(folder), 4)
    assert reason.startswith(f"{folder} cannot be diagnosed: ")
    assert "best.ckpt" in reason


def test_a_corpus_that_does_not_exist_gives_the_reason(tmp_path):
    folder = write_run(tmp_path / "run", corpus="elsewhere.Corpus")
    assert explain_run(read_run(folder), 4).startswith(f"{folder} cannot be diagnosed: ")
