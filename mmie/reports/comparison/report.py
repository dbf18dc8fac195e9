"""Runs side by side: a table for the terminal, and the report that is written to a folder."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Column, Table

from mmie.reports.comparison.groups import ComparisonGroup
from mmie.reports.comparison.insight import Explain
from mmie.reports.comparison.page import percent, write_comparison
from mmie.reports.comparison.summary import SCORES, summarise, text_bound
from mmie.reports.statistics import spread


def render_scores(entered: Sequence[ComparisonGroup]) -> Table:
    """A row a system, over its seeds; for the demo corpus also the best score that text alone can reach."""
    left = (Column(name, overflow="fold") for name in ("method", "corpus", "task"))
    right = (Column(name, justify="right") for name in ("seeds", "P", "R", "F1"))
    table = Table(*left, *right, title="Test scores")
    for group in entered:
        for system in group.systems:
            scores = [percent(spread([run.scores[name] for run in system.runs])) for name in SCORES]
            table.add_row(system.name, group.corpus, group.task, str(len(system.runs)), *scores)
        bound = text_bound(group.corpus, group.root, group.task)
        if bound is not None:
            row = (
                "best possible from text alone",
                group.corpus,
                group.task,
                "",
                "",
                "",
                f"{100 * bound:.2f}",
            )
            table.add_row(*row, style="bold")
        table.add_section()
    return table


def write_report(
    entered: Sequence[ComparisonGroup],
    untested: Sequence[Path],
    out: Path,
    resamples: int = 10_000,
    disagreements: int = 12,
    explain: Explain | None = None,
) -> Path:
    """Write the comparison of runs as HTML, Markdown and JSON; gives the path of the HTML page.

    Args:
        entered: Tested runs, by corpus and task.
        untested: Folders of runs that were found but not tested, which the page names.
        out: Folder for the three files.
        resamples: How often posts are drawn for each pair of methods.
        disagreements: How many posts on which methods differ are shown at most.
        explain: Looks into a run, such as `mmie.reports.comparison.insight.explain_run`; None looks into none.
    """
    summaries = [summarise(group, resamples, disagreements, explain) for group in entered]
    return write_comparison(summaries, untested, out)
