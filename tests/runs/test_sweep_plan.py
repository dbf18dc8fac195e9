"""The plan of sweeps beside their run folders."""

import json
import shutil

import pytest
from helpers.run_folders import write_run

from mmie.runs.sweep_plan import (
    PLAN,
    SweepPlan,
    find_sweep_plans,
    read_sweep_plan,
    was_begun,
    write_sweep_plan,
)


def runs_of(folder, system, *seeds):
    return tuple(folder / system / f"seed_{seed}" for seed in seeds)


def test_a_plan_is_read_as_it_was_written_also_from_another_place(tmp_path):
    runs = runs_of(tmp_path / "out", "rap", 1, 2)
    write_sweep_plan(tmp_path / "out", "mmie sweep rap", runs)
    assert read_sweep_plan(tmp_path / "out") == [SweepPlan("mmie sweep rap", runs)]
    shutil.move(tmp_path / "out", tmp_path / "moved")
    (moved,) = read_sweep_plan(tmp_path / "moved")
    assert moved.runs == runs_of(tmp_path / "moved", "rap", 1, 2)
    assert not was_begun(moved.runs[0])
    write_run(moved.runs[0])
    assert was_begun(moved.runs[0])


def test_a_later_sweep_replaces_the_seeds_of_its_systems_alone(tmp_path):
    write_sweep_plan(
        tmp_path, "first", runs_of(tmp_path, "rap", 1, 2, 3) + runs_of(tmp_path, "imm", 1, 2)
    )
    write_sweep_plan(tmp_path, "second", runs_of(tmp_path, "rap", 1))
    assert read_sweep_plan(tmp_path) == [
        SweepPlan("first", runs_of(tmp_path, "imm", 1, 2)),
        SweepPlan("second", runs_of(tmp_path, "rap", 1)),
    ]
    write_sweep_plan(tmp_path, "third", runs_of(tmp_path, "imm", 1))
    assert [sweep.command for sweep in read_sweep_plan(tmp_path)] == ["second", "third"]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[1]",
        '{"job": "digest", "fitted": true}',
        '{"sweeps": [{"command": 1, "runs": []}]}',
        '{"sweeps": [{"command": "a", "runs": [1]}]}',
        '{"sweeps": 1}',
    ],
)
def test_another_file_of_this_name_is_no_plan(tmp_path, content):
    (tmp_path / PLAN).write_text(content)
    assert read_sweep_plan(tmp_path) == []
    write_sweep_plan(tmp_path, "sweep", runs_of(tmp_path, "rap", 1))
    assert list(json.loads((tmp_path / PLAN).read_text())) == ["sweeps"]


def test_planned_runs_count_that_were_named_or_belong_to_a_run(tmp_path):
    out = tmp_path / "runs" / "sweep"
    rap, imm, dghc = (runs_of(out, name, 1, 2) for name in ("rap", "imm", "dghc"))
    write_sweep_plan(out, "sweep", rap + imm + dghc)
    (everything,) = find_sweep_plans([tmp_path / "runs"], [rap[0]])
    assert everything.runs == rap + imm + dghc
    (of_system,) = find_sweep_plans([f"{out}/*/seed_1"], [rap[0], imm[0]])
    assert of_system.runs == rap + imm
    (named,) = find_sweep_plans([out / "dghc", rap[0]], [rap[0]])
    assert named.runs == rap + dghc
    assert find_sweep_plans([tmp_path], [tmp_path / "elsewhere" / "seed_1"]) == []
