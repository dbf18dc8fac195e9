"""``metrics.json`` and ``config.yaml`` of a run folder."""

import json

import pytest

from mmie.runs import RunError
from mmie.runs.metrics import read_config, read_metrics, update_metrics, write_metrics


def test_one_section_is_replaced_and_the_others_stay(tmp_path):
    assert read_metrics(tmp_path) == {}
    update_metrics(tmp_path, "fit", {"epochs": []})
    update_metrics(tmp_path, "test", {"test/f1": 0.5, "test/loss": 1.0})
    update_metrics(tmp_path, "test", {"test/f1": 0.25})
    assert read_metrics(tmp_path) == {"fit": {"epochs": []}, "test": {"test/f1": 0.25}}
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]


def test_damaged_metrics_are_an_error(tmp_path):
    (tmp_path / "metrics.json").write_text('{"fit": ')
    with pytest.raises(RunError, match=r"metrics\.json is damaged"):
        read_metrics(tmp_path)
    with pytest.raises(RunError, match=r"metrics\.json is damaged"):
        update_metrics(tmp_path, "test", {})
    assert (tmp_path / "metrics.json").read_text() == '{"fit": '


def test_the_configuration_is_read_as_plain_values(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_config(tmp_path)
    (tmp_path / "config.yaml").write_text("data: {task: ner}\n")
    assert read_config(tmp_path) == {"data": {"task": "ner"}}
    (tmp_path / "config.yaml").write_text("data: !!python/name:os.system\n")
    with pytest.raises(RunError, match=r"config\.yaml is damaged"):
        read_config(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "data", "a: [", "\0"])
def test_a_configuration_that_holds_no_settings_is_damaged(tmp_path, content):
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(RunError, match=r"config\.yaml is damaged"):
        read_config(tmp_path)


def test_every_flipped_bit_of_the_record_is_found(tmp_path):
    sections = {"test": {"test/f1": 0.25, "count": 48}, "fit": {"epochs": [{"epoch": 1}]}}
    write_metrics(tmp_path, sections)
    path = tmp_path / "metrics.json"
    content = path.read_bytes()
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 1 << position % 7
        path.write_bytes(damaged)
        try:
            read = read_metrics(tmp_path)
        except RunError:
            continue
        read = {name: value for name, value in read.items() if not isinstance(value, str)}
        assert read == sections, position  # white space, or the name of the checksum


def test_numbers_that_json_cannot_hold_become_null(tmp_path):
    update_metrics(tmp_path, "fit", {"loss": float("nan"), "epochs": [{"f1": float("inf")}]})

    def refuse(name):
        raise AssertionError(name)

    text = (tmp_path / "metrics.json").read_text()
    assert json.loads(text, parse_constant=refuse)["fit"] == {
        "epochs": [{"f1": None}],
        "loss": None,
    }
    assert read_metrics(tmp_path)["fit"]["loss"] is None
