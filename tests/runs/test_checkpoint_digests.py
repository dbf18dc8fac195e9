"""Recorded digests of checkpoints."""

from mmie.runs.checkpoint_digests import record_checkpoint, recorded_digests
from mmie.runs.metrics import read_metrics, update_metrics


def test_digests_are_recorded_by_file_name_beside_other_sections(tmp_path):
    assert recorded_digests(tmp_path / "best.ckpt") == []
    update_metrics(tmp_path, "fit", {"epochs": []})
    record_checkpoint(tmp_path / "best.ckpt", ["a"])
    record_checkpoint(tmp_path / "last.ckpt", ["b", "c"])
    assert recorded_digests(tmp_path / "best.ckpt") == ["a"]
    assert recorded_digests(tmp_path / "last.ckpt") == ["b", "c"]
    assert recorded_digests(tmp_path / "other.ckpt") == []
    assert read_metrics(tmp_path)["fit"] == {"epochs": []}


def test_a_section_of_another_form_records_nothing(tmp_path):
    for section in ([], {"best.ckpt": "a"}, "text", None):
        update_metrics(tmp_path, "checkpoints", section)
        assert recorded_digests(tmp_path / "best.ckpt") == []
