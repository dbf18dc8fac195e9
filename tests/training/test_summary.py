"""The table at the end of a run."""

import re

from mmie.metrics import PrecisionRecallF1
from mmie.training.summary import print_summary


def test_scores_are_in_percent_and_only_written_files_are_listed(tmp_path, capsys):
    for name in ("metrics.json", "best.ckpt", "predictions.jsonl", "predictions_none.jsonl"):
        (tmp_path / name).touch()
    scores = {"test/f1": 0.4567, "test/loss": 1.25, "val/f1": 0.5, "test/f1/PER": 0.25}
    print_summary(tmp_path, "test", scores, "test/")
    out = capsys.readouterr().out
    assert f"test of {tmp_path}" in " ".join(out.split())
    assert "45.67" in out
    assert "1.2500" in out
    assert "50.00" not in out
    assert "25.00" not in out
    for name in ("metrics.json", "best.ckpt", "predictions.jsonl", "predictions_none.jsonl"):
        assert str(tmp_path / name) in out
    assert "last.ckpt" not in out
    assert "config.yaml" not in out


def test_a_long_path_is_not_cut(tmp_path, capsys):
    folder = tmp_path / ("x" * 200)
    folder.mkdir()
    (folder / "metrics.json").touch()
    print_summary(folder, "test", {}, "test/")
    unbroken = re.sub(r"[│\s]", "", capsys.readouterr().out)
    assert str(folder / "metrics.json") in unbroken


def test_scores_by_type_follow_in_a_table_and_then_the_note(tmp_path, capsys):
    by_type = {"PER": PrecisionRecallF1(0.5, 1.0, 0.66666, 12)}
    print_summary(tmp_path, "test", {"test/f1": 0.4567}, "test/", "a note", by_type)
    out = capsys.readouterr().out
    [row] = [line for line in out.splitlines() if "PER" in line]
    assert re.findall(r"[\w.]+", row) == ["PER", "50.00", "100.00", "66.67", "12"]
    assert out.index("45.67") < out.index("PER") < out.index("a note")
