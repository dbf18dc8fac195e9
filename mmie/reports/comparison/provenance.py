"""Origin of a comparison: date, versions, hardware, seeds, commands, and what is still missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mmie.reports.comparison.groups import ComparisonGroup
from mmie.runs import Run
from mmie.runs.sweep_plan import SweepPlan, was_begun
from mmie.utils.version import VERSION


@dataclass(frozen=True, slots=True)
class MissingRun:
    """Planned run that the comparison lacks.

    Attributes:
        folder: Its run folder.
        state: ``not begun`` or ``not tested``.
    """

    folder: str
    state: str


@dataclass(frozen=True, slots=True)
class Provenance:
    """Origin of a comparison.

    Attributes:
        date: Date and time of the comparison, with the time zone.
        version: Version of the package that made it.
        command: Command line that made it, empty if it was not made by a command.
        run_versions: Versions of the package that fitted and tested the runs.
        hardware: Devices that the runs record.
        seeds: All seeds.
        commands: Commands that made the runs.
        unrecorded: Number of runs without a record of a command.
        planned: Number of runs that sweeps have planned; 0 without a plan.
        missing: Planned runs that are not tested.
    """

    date: str
    version: str
    command: str
    run_versions: tuple[str, ...]
    hardware: tuple[str, ...]
    seeds: tuple[int, ...]
    commands: tuple[str, ...]
    unrecorded: int
    planned: int
    missing: tuple[MissingRun, ...]


def trace(
    groups: Sequence[ComparisonGroup],
    plans: Sequence[SweepPlan] = (),
    command: str = "",
    now: datetime | None = None,
) -> Provenance:
    """Collect the origin of a comparison.

    Args:
        groups: Tested runs by corpus and task.
        plans: Plans of the sweeps that the runs belong to.
        command: Command line of the comparison.
        now: Date and time; by default those of the call.
    """
    runs: list[Run] = []
    for group in groups:
        for system in group.systems:
            runs += system.runs
    versions: list[str] = []
    hardware: list[str] = []
    seeds = []
    for run in runs:
        versions += run.circumstances.versions
        hardware += run.circumstances.hardware
        seeds.append(run.seed)
    commands, unrecorded = _commands(runs, plans)
    planned = _planned(plans)
    tested = {run.folder.resolve() for run in runs}
    missing = []
    for folder in planned:
        if folder.resolve() not in tested:
            state = "not tested" if was_begun(folder) else "not begun"
            is_below = folder.is_relative_to(Path.cwd())
            shown = folder.relative_to(Path.cwd()) if is_below else folder
            missing.append(MissingRun(str(shown), state))
    return Provenance(
        date=f"{(now or datetime.now(UTC)).astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        version=VERSION,
        command=command,
        run_versions=_distinct(versions),
        hardware=_distinct(hardware),
        seeds=tuple(sorted(set(seeds))),
        commands=commands,
        unrecorded=unrecorded,
        planned=len(planned),
        missing=tuple(missing),
    )


def _commands(runs: Sequence[Run], plans: Sequence[SweepPlan]) -> tuple[tuple[str, ...], int]:
    """Collect the commands that made runs: those of sweeps, and of runs outside of any.

    Returns:
        The commands, and the number of runs without a record of one.
    """
    covered = {folder.resolve() for folder in _planned(plans)}
    commands = [plan.command for plan in plans]
    unrecorded = 0
    for run in runs:
        if run.folder.resolve() in covered:
            continue
        commands += run.circumstances.commands
        unrecorded += not run.circumstances.commands
    return _distinct(commands), unrecorded


def _planned(plans: Sequence[SweepPlan]) -> list[Path]:
    """List the runs of all plans, each once."""
    folders: list[Path] = []
    for plan in plans:
        folders += plan.runs
    return list(dict.fromkeys(folders))


def _distinct(values: Iterable[str]) -> tuple[str, ...]:
    """Return values once each, in their order."""
    return tuple(dict.fromkeys(values))
