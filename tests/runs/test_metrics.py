"""``metrics.json`` and ``config.yaml`` of a run folder."""

import pytest
import yaml

from mmie.runs.metrics import read_config, read_metrics, update_metrics


def test_one_section_is_replaced_and_the_others_stay(tmp_path):
    assert read_metrics(tmp_path) == {}
    update_metrics(tmp_path, "fit", {"epochs": []})
    update_metrics(tmp_path, "test", {"test/f1": 0.5, "test/loss": 1.0})
    update_metrics(tmp_path, "test", {"test/f1": 0.25})
    assert read_metrics(tmp_path) == {"fit": {"epochs": []}, "test": {"test/f1": 0.25}}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_damaged_metrics_are_an_error(tmp_path):
    (tmp_path / "metrics.json").write_text('{"fit": ')
    with pytest.raises(ValueError, match="Expecting value"):
        read_metrics(tmp_path)
    with pytest.raises(ValueError, match="Expecting value"):
        update_metrics(tmp_path, "test", {})
    assert (tmp_path / "metrics.json").read_text() == '{"fit": '


def test_the_configuration_is_read_as_plain_values(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("data: {task: ner}\n")
    assert read_config(tmp_path) == {"data": {"task": "ner"}}
    (tmp_path / "config.yaml").write_text("data: !!python/name:os.system\n")
    with pytest.raises(yaml.YAMLError):
        read_config(tmp_path)
