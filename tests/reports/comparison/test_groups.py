"""Runs sorted into groups and systems."""

from dataclasses import replace

from helpers.records import build_record
from helpers.run_folders import GOLD, prediction_line, write_run

from mmie.reports.comparison.groups import (
    System,
    comparison_groups,
    pictures_of_posts,
    system_names,
)
from mmie.runs import read_run


def test_systems_are_named_by_the_settings_that_differ(tmp_path):
    runs = [
        read_run(write_run(tmp_path / "a", seed=1)),
        read_run(write_run(tmp_path / "b", seed=2)),
        read_run(write_run(tmp_path / "c", text_lr=0.5)),
        read_run(write_run(tmp_path / "d", method="mmie.methods.IMM", text_lr=0.5)),
    ]
    assert system_names(runs) == [
        "RAP (text_lr=0.1)",
        "RAP (text_lr=0.1)",
        "RAP (text_lr=0.5)",
        "IMM",
    ]


def test_groups_are_by_corpus_and_task_and_systems_hold_seeds(tmp_path):
    settings = {
        "a": {"seed": 1},
        "b": {"seed": 2},
        "b2": {"seed": 2},
        "c": {"task": "re", "lines": None},
        "d": {"root": "elsewhere"},
    }
    runs = [read_run(write_run(tmp_path / name, **settings[name])) for name in settings]
    groups = comparison_groups(runs)
    assert [(group.task, len(group.systems)) for group in groups] == [
        ("ner", 1),
        ("ner", 1),
        ("re", 1),
    ]
    assert [run.folder.name for run in groups[0].systems[0].runs] == ["a", "b"]
    assert "repeats seed 2" in groups[0].notes[0]
    assert "predictions.jsonl" in groups[2].notes[0]


def test_predictions_for_other_instances_are_left_out(tmp_path):
    other = [prediction_line("1", GOLD[:1], GOLD), prediction_line("2", GOLD, GOLD)]
    first = read_run(write_run(tmp_path / "a"))
    second = read_run(write_run(tmp_path / "b", other, method="mmie.methods.IMM"))
    (group,) = comparison_groups([first, second])
    assert "other posts or gold" in group.notes[0]
    assert [(system.name, list(system.predictions)) for system in group.systems] == [
        ("IMM", []),
        ("RAP", [1]),
    ]


def test_pictures_are_those_of_a_run_with_the_right_ones(tmp_path):
    right = read_run(write_run(tmp_path / "run"))
    shuffled = replace(right, pictures="shuffled")
    with_shuffled = System("x", (shuffled,), {1: [build_record([], [], image="wrong.jpg")]})
    with_right = System("y", (right,), {1: [build_record([], [], image="right.jpg")]})
    assert pictures_of_posts([with_shuffled, with_right]) == {"1": "right.jpg"}
    assert pictures_of_posts([with_shuffled]) == {"1": None}
