"""Runs side by side: a table for the terminal, and the report that is written to a folder."""

from collections.abc import Sequence
from pathlib import Path

from rich.table import Column, Table

from mmie.reports.insight import Explain
from mmie.reports.page import write_comparison
from mmie.reports.runs import Run
from mmie.reports.summary import summarise, text_bound
from mmie.reports.systems import contests


def render_runs(runs: Sequence[Run]) -> Table:
    """A row a run; for the demo corpus also the best score that text alone can reach."""
    columns = (Column(name, overflow="fold") for name in ("run", "method", "corpus", "task", "P", "R", "F1"))
    table = Table(*columns, title="Test scores")
    for run in runs:
        percents = [f"{100 * run.scores[name]:.2f}" for name in ("precision", "recall", "f1")]
        table.add_row(str(run.folder), run.method, run.corpus, run.task, *percents)
    for corpus, root, task in sorted({(run.corpus, run.root, run.task) for run in runs}):
        bound = text_bound(corpus, root, task)
        if bound is not None:
            table.add_row("", "best possible from text alone", corpus, task, "", "", f"{100 * bound:.2f}", style="bold")
    return table


def write_report(
    runs: Sequence[Run],
    untested: Sequence[Path],
    out: Path,
    resamples: int = 10_000,
    disputed: int = 12,
    explain: Explain | None = None,
) -> Path:
    """Write the comparison of runs as HTML, Markdown and JSON; gives the path of the HTML page.

    Args:
        runs: Tested runs.
        untested: Folders of runs that were found but not tested, which the page names.
        out: Folder for the three files.
        resamples: How often posts are drawn for each pair of methods.
        disputed: How many posts on which methods differ are shown at most.
        explain: Looks into a run, such as `mmie.reports.insight.explain_run`; None looks into none.
    """
    summaries = [summarise(contest, resamples, disputed, explain) for contest in contests(runs)]
    return write_comparison(summaries, untested, out)
