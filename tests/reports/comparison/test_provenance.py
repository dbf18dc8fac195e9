"""Origin of a comparison."""

from datetime import UTC, datetime

from helpers.comparison import groups_of
from helpers.run_folders import change_metrics, write_run

from mmie.reports.comparison.provenance import MissingRun, trace
from mmie.runs.sweep_plan import SweepPlan
from mmie.utils.version import VERSION

NOW = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def test_versions_hardware_seeds_and_commands_are_those_of_the_runs(tmp_path):
    facts = {"version": "0.1", "hardware": "a CPU", "commands": ["mmie fit", "mmie fit again"]}
    first = write_run(tmp_path / "a", seed=3, sections={"run": facts})
    second = write_run(tmp_path / "b", seed=1)
    test = {"test/f1": 0.5, "version": "0.2", "hardware": "a GPU", "commands": ["mmie test"]}
    change_metrics(first, test=test)
    found = trace(groups_of(first, second), command="mmie compare", now=NOW)
    assert (found.date, found.version, found.command) == (
        "2026-01-02 03:04 UTC",
        VERSION,
        "mmie compare",
    )
    assert found.run_versions == ("0.1", "0.2")
    assert found.hardware == ("a CPU", "a GPU")
    assert found.seeds == (1, 3)
    assert found.commands == ("mmie fit", "mmie fit again", "mmie test")
    assert (found.unrecorded, found.planned, found.missing) == (1, 0, ())


def test_planned_runs_without_a_test_are_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = write_run(tmp_path / "out" / "rap" / "seed_1")
    begun = write_run(tmp_path / "out" / "rap" / "seed_2", seed=2)
    change_metrics(begun, test=None)
    waiting = tmp_path / "out" / "rap" / "seed_3"
    plans = [SweepPlan("mmie sweep", (done, begun, waiting))]
    found = trace(groups_of(done), plans, now=NOW)
    assert found.planned == 3
    assert found.missing == (
        MissingRun("out/rap/seed_2", "not tested"),
        MissingRun("out/rap/seed_3", "not begun"),
    )
    assert (found.commands, found.unrecorded) == (("mmie sweep",), 0)
    assert trace(groups_of(done), [SweepPlan("mmie sweep", (done,))]).missing == ()
