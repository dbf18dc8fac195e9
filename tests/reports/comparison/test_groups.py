"""Runs sorted into groups and systems."""

import json
from dataclasses import replace

import pytest
from helpers.command import write_jsonl
from helpers.comparison import groups_of
from helpers.records import build_record
from helpers.run_folders import (
    BAD_LINES,
    GOLD,
    GOOD_LINES,
    build_config,
    change_metrics,
    prediction_line,
    write_run,
)

from mmie.reports.comparison.groups import (
    System,
    comparison_groups,
    pictures_of_posts,
    system_names,
)
from mmie.reports.comparison.report import scores_table
from mmie.runs import RunError, read_run
from mmie.runs.settings import flatten_settings
from mmie.utils.files import digest_file


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


COUNTED = {"count": 2, "instances": 2}


def change_test(folder, **values):
    """Change values in the section of the test and return the folder."""
    test = json.loads((folder / "metrics.json").read_text())["test"]
    change_metrics(folder, test={**test, **values})
    return folder


def test_a_test_of_a_part_of_the_split_enters_no_mean(tmp_path):
    whole = change_test(write_run(tmp_path / "a", f1=0.5), **COUNTED)
    partial = change_test(write_run(tmp_path / "b", f1=1.0, seed=2), count=2, instances=48)
    for folders in ((whole, partial), (partial, whole)):
        groups = groups_of(*folders)
        (system,) = groups[0].systems
        assert [run.folder for run in system.runs] == [whole]
        assert f"{partial} was tested on 2 of 48 instances" in groups[0].notes[0]
        assert "b was tested on 2 of 48 instances" in str(scores_table(groups).caption)
    with pytest.raises(RunError, match="b was tested on 2 of 48 instances"):
        groups_of(partial)


def test_a_partial_test_with_other_pictures_is_left_out(tmp_path):
    shuffled = {"test/f1": 0.25, "count": 1, "instances": 2}
    run = read_run(write_run(tmp_path / "a", sections={"test_shuffled": shuffled}))
    assert run.other_pictures == {}
    change_metrics(tmp_path / "a", test_shuffled={**shuffled, "count": 2})
    assert read_run(tmp_path / "a").other_pictures == {"shuffled": 0.25}


@pytest.mark.parametrize("counted", [COUNTED, {}])
def test_predictions_that_are_too_few_are_named(tmp_path, counted):
    short = change_test(write_run(tmp_path / "a", GOOD_LINES[:1]), **counted)
    second = change_test(write_run(tmp_path / "b", seed=2), **counted)
    for folders in ((short, second), (second, short)):
        (group,) = groups_of(*folders)
        (system,) = group.systems
        assert [run.seed for run in system.runs] == [1, 2]
        assert list(system.predictions) == [2]
        (note,) = group.notes
        assert str(short) in note
        assert str(second) not in note
    if counted:
        assert "a/predictions.jsonl has 1 predictions, its test counted 2" in note
        (alone,) = groups_of(short)
        assert "its test counted 2" in alone.notes[0]


def test_predictions_of_another_digest_are_named(tmp_path):
    folder = write_run(tmp_path / "a")
    digest = digest_file(folder / "predictions.jsonl")
    change_test(folder, **COUNTED, predictions_sha256=digest)
    (group,) = groups_of(folder)
    assert group.notes == ()
    write_jsonl(folder / "predictions.jsonl", BAD_LINES)
    (group,) = groups_of(folder)
    assert "another file than its test wrote" in group.notes[0]
    assert group.systems[0].predictions == {}


def test_runs_on_other_editions_are_other_systems(tmp_path):
    for name, digest, seed in (("a", "1" * 64, 1), ("b", "1" * 64, 2), ("c", "2" * 64, 3)):
        folder = write_run(tmp_path / name, seed=seed)
        change_metrics(folder, run={"corpus": {"train": digest, "valid": "v" * 64}})
    runs = [read_run(tmp_path / name) for name in "abc"]
    assert system_names(runs) == [
        "RAP (training corpus=11111111+vvvvvvvv)",
        "RAP (training corpus=11111111+vvvvvvvv)",
        "RAP (training corpus=22222222+vvvvvvvv)",
    ]


def test_a_fact_that_a_setting_explains_is_no_part_of_a_name(tmp_path):
    for name, text_lr, checkpoint in (("a", 0.1, "best"), ("b", 0.2, "last")):
        folder = write_run(tmp_path / name, text_lr=text_lr)
        test = {"test/f1": 0.5, "checkpoint": str(folder / f"{checkpoint}.ckpt")}
        change_metrics(folder, test=test)
    runs = [read_run(tmp_path / name) for name in "ab"]
    assert system_names(runs) == ["RAP (text_lr=0.1)", "RAP (text_lr=0.2)"]
    runs = [replace(run, settings={}) for run in runs]
    assert system_names(runs) == ["RAP (checkpoint=best.ckpt)", "RAP (checkpoint=last.ckpt)"]


def test_contradictions_in_a_run_folder_are_noted(tmp_path):
    folder = write_run(tmp_path / "run")
    settings = flatten_settings(build_config())
    test = {"test/f1": 0.5, "split_sha256": "a", "checkpoint_sha256": "c"}
    change_metrics(
        folder,
        test=test,
        test_none={**test, "checkpoint_sha256": "d"},
        test_shuffled=test,
        run={"corpus": {"test": "b"}},
        settings={**settings, "model.text_lr": 0.3, "model.warmup": 0.1},
    )
    (group,) = comparison_groups([read_run(folder)])
    notes = " ".join(group.notes)
    assert "config.yaml was changed after the fit (model.text_lr, model.warmup)" in notes
    assert "was tested on another test split than the one at its fit" in notes
    assert "the test with pictures none is of another checkpoint or other posts" in notes
    assert set(group.systems[0].runs[0].other_pictures) == {"shuffled"}
