"""``sweep.json`` beside the run folders of sweeps: which runs were planned, and by which command.

Run folders that were never begun leave no trace, so that the plan alone tells an incomplete sweep
from a smaller one. Paths in the file are relative to its folder, which may be moved::

    {"sweeps": [{"command": "mmie sweep ...", "runs": ["hvpnet/seed_1234", "hvpnet/seed_1235"]}]}

A run folder has a ``sweep.json`` of another form: see `mmie.experiments.job_runner`.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmie.runs.folder import CONFIG
from mmie.utils.files import atomic_write_text

PLAN = "sweep.json"
_SWEEPS, _COMMAND, _RUNS = "sweeps", "command", "runs"


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """One command that planned runs.

    Attributes:
        command: The command line.
        runs: Run folders that are to be fitted and tested.
    """

    command: str
    runs: tuple[Path, ...]


def write_sweep_plan(folder: Path, command: str, runs: Iterable[Path]) -> None:
    """Add a sweep to the plan of a folder.

    Folders of runs that differ in their seeds alone have one parent. Where an earlier sweep planned
    runs with a parent that this one has too, the plan of this one holds.

    Args:
        folder: Folder of the run folders.
        command: Command line of the sweep.
        runs: Run folders that are to be tested, below the folder.

    Raises:
        OSError: The file cannot be written.
    """
    planned = tuple(runs)
    parents = {run.parent for run in planned}
    sweeps = []
    for sweep in read_sweep_plan(folder):
        others = tuple(run for run in sweep.runs if run.parent not in parents)
        if others:
            sweeps.append(SweepPlan(sweep.command, others))
    sweeps.append(SweepPlan(command, planned))
    records = []
    for sweep in sweeps:
        names = [run.relative_to(folder).as_posix() for run in sweep.runs]
        records.append({_COMMAND: sweep.command, _RUNS: names})
    atomic_write_text(folder / PLAN, json.dumps({_SWEEPS: records}, indent=2) + "\n")


def read_sweep_plan(folder: Path) -> list[SweepPlan]:
    """Read the plan of a folder.

    Returns:
        The sweeps; none without a plan, with one that is damaged, and for a run folder.
    """
    try:
        content = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        return [_read_sweep(folder, record) for record in content[_SWEEPS]]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []


def find_sweep_plans(names: Sequence[str | Path], runs: Iterable[Path]) -> list[SweepPlan]:
    """Find the plans that runs belong to, without what was not asked for.

    A planned run counts if it lies below one of the names, or if it differs from one of the runs in
    its seed alone.

    Args:
        names: Run folders, globs, or folders that hold run folders, as a user names them.
        runs: Run folders that were found there.

    Returns:
        Plans with at least one run that counts, and these runs alone.
    """
    found = [run.resolve() for run in runs]
    parents = {run.parent for run in found}
    tops = [Path(name).resolve() for name in names]
    plans = []
    for folder in sorted({above for run in found for above in run.parents}):
        for sweep in read_sweep_plan(folder):
            counted = []
            for run in sweep.runs:
                is_named = any(run.is_relative_to(top) for top in tops)
                if is_named or run.parent in parents:
                    counted.append(run)
            if counted:
                plans.append(SweepPlan(sweep.command, tuple(counted)))
    return plans


def was_begun(run: Path) -> bool:
    """Tell whether the fit or test of a run folder has begun."""
    return (run / CONFIG).exists()


def _read_sweep(folder: Path, record: Any) -> SweepPlan:
    """Read one sweep of a plan.

    Raises:
        TypeError: A value is not a string.
        LookupError: A value is missing.
    """
    names = record[_RUNS]
    if not all(isinstance(text, str) for text in (record[_COMMAND], *names)):
        raise TypeError("expected strings")
    return SweepPlan(record[_COMMAND], tuple(folder / name for name in names))
