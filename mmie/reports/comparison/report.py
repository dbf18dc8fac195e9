"""Comparison of runs as a table for the terminal, and as files in a folder."""

import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from mmie.reports.comparison.groups import ComparisonGroup
from mmie.reports.comparison.insight import Explainer
from mmie.reports.comparison.method_row import scores_by_pictures
from mmie.reports.comparison.page import write_comparison
from mmie.reports.comparison.provenance import Provenance, trace
from mmie.reports.comparison.summary import Summary, summarise, text_bound
from mmie.reports.rendering import TASK_NAMES, percent
from mmie.reports.statistics import scores_of_runs
from mmie.runs.picture_tests import PICTURE_TESTS
from mmie.runs.sweep_plan import SweepPlan

_PICTURE_COLUMNS = {"shuffled": "F1 with\nshuffled\npictures", "none": "F1\nwithout\npictures"}
"""Headings of F1 with other pictures than a run's own."""


class WrittenReport(NamedTuple):
    """Report that was written to a folder.

    Attributes:
        page: The HTML page.
        verdict: Its verdicts, a line for each sentence.
    """

    page: Path
    verdict: tuple[str, ...]


def scores_table(groups: Sequence[ComparisonGroup]) -> Table:
    """Build a table with a row for each system, and one for the bound of a demo corpus.

    The F1 of tests with shuffled and without pictures stands beside the others, if any system has
    them. Corpus and task of a single group are in the title. Notes of corpora, and reasons why runs
    or predictions are left out, stand below.
    """
    title, has_groups = "Test scores", len(groups) > 1
    if not has_groups:
        title += "".join(f" on {group.corpus}, task {group.task}" for group in groups)
    table = Table(title=title)
    for name in ("method", "corpus", "task") if has_groups else ("method",):
        table.add_column(name, overflow="fold")
    for name in ("seeds", "P", "R", "F1"):
        table.add_column(name, justify="right")
    tests = [name for name in PICTURE_TESTS if _has_test(groups, name)]
    for name in tests:
        table.add_column(_PICTURE_COLUMNS[name], justify="right")
    notes = dict.fromkeys(group.corpus_note for group in groups)
    for group in groups:
        notes |= dict.fromkeys(group.notes)
    table.caption = "\n".join(filter(None, notes))
    for group in groups:
        place = (group.corpus, group.task) if has_groups else ()
        for system in group.systems:
            scores = list(scores_of_runs(system.runs).values())
            pictures = scores_by_pictures(system.runs)
            cells = map(percent, [*scores, *map(pictures.get, tests)])
            table.add_row(system.name, *place, str(len(system.runs)), *cells)
        bound = text_bound(group.corpus, group.root, group.task)
        if bound is not None:
            name = "best possible from text alone"
            table.add_row(name, *place, "", "", "", percent(bound), style="bold")
        table.add_section()
    return table


def _has_test(groups: Sequence[ComparisonGroup], pictures: str) -> bool:
    """Tell whether any system was tested with certain pictures."""
    for group in groups:
        for system in group.systems:
            if pictures in scores_by_pictures(system.runs):
                return True
    return False


def write_report(
    groups: Sequence[ComparisonGroup],
    untested: Sequence[Path],
    out: Path,
    resamples: int = 10_000,
    disagreements: int = 12,
    explain: Explainer | None = None,
    plans: Sequence[SweepPlan] = (),
    command: str = "",
) -> WrittenReport:
    """Write the comparison of runs as HTML, Markdown and JSON.

    Reasons why parts of the report are left out are given as warnings.

    Args:
        groups: Tested runs by corpus and task.
        untested: Folders of runs that were not tested, which the page lists.
        out: Folder of the three files.
        resamples: Number of bootstrap samples for every two systems.
        disagreements: Largest number of instances on which systems differ.
        explain: Diagnoses a run, such as `mmie.reports.comparison.insight.explain_run`; None
            diagnoses no run.
        plans: Plans of the sweeps that the runs belong to.
        command: Command line of the comparison.

    Raises:
        OSError: A file cannot be written.
    """
    summaries = [summarise(group, resamples, disagreements, explain) for group in groups]
    for group, summary in zip(groups, summaries, strict=True):
        for note in summary.notes:
            if note not in group.notes:
                warnings.warn(note, stacklevel=2)
    provenance = trace(groups, plans, command)
    page = write_comparison(summaries, untested, provenance, out)
    return WrittenReport(page, tuple(verdict_lines(summaries, provenance)))


def verdict_lines(summaries: Sequence[Summary], provenance: Provenance) -> Iterator[str]:
    """Yield the verdicts of a comparison for the terminal, with a warning if runs are missing."""
    if provenance.missing:
        num_tested = provenance.planned - len(provenance.missing)
        yield f"Incomplete: {num_tested} of {provenance.planned} planned runs are tested."
    for summary in summaries:
        yield f"{summary.corpus}, {TASK_NAMES[summary.task]}:"
        for sentence in summary.verdict.sentences:
            yield f"  {sentence}"
