"""Comparisons of run folders."""

from pathlib import Path
from typing import Any

from mmie.reports.comparison.groups import ComparisonGroup, comparison_groups
from mmie.reports.comparison.summary import Summary, summarise
from mmie.runs import read_run


def groups_of(*folders: Path) -> list[ComparisonGroup]:
    """Read runs and sort them into groups."""
    return comparison_groups([read_run(folder) for folder in folders])


def summary_of(*folders: Path, **settings: Any) -> Summary:
    """Summarise runs on one corpus and task."""
    (group,) = groups_of(*folders)
    return summarise(group, resamples=200, **settings)
