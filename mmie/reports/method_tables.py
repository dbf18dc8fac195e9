"""Tables of methods, their published scores and switches, for the terminal and as Markdown."""

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from mmie.methods.papers import CORPORA, Paper
from mmie.reports.methods import MethodInfo


def methods_table(methods: Sequence[MethodInfo]) -> Table:
    """Build a table with a row for each method and its published F1."""
    table = Table(title="Methods and published F1")
    for name in ("method", "tasks", "paper"):
        table.add_column(name, overflow="fold")
    for corpus in CORPORA:
        table.add_column(corpus.replace("Twitter", "T"), justify="right", no_wrap=True)
    for method in methods:
        citation = f"{_authors(method.cited)} {method.cited.year}" if method.cited else ""
        table.add_row(method.name, _tasks(method), citation, *_published_f1(method))
    return table


def method_details(method: MethodInfo) -> Group:
    """Build the paper of a method, all its results, the departures from it, and the switches."""
    parts: list[Text | Table] = [Text(f"{method.path}: {method.summary}")]
    if method.cited is not None:
        parts.append(Text(f"{method.cited.title}. {_citation(method.cited)}, {method.cited.url}"))
    paper = method.paper
    if paper is not None:
        if paper.remark:
            parts.append(Text(paper.remark))
        parts.append(_results_table(paper))
        if paper.ablations:
            parts.append(_ablation_table(paper))
    departures = method.departures
    if departures:
        parts.append(Text(f"Departures from the paper\n\n{departures}"))
    if method.switches:
        parts.append(_switch_table(method))
    parents = " and ".join(method.parents)
    return Group(*parts, Text(f"It takes the arguments of {parents} as well."))


def methods_markdown(methods: Sequence[MethodInfo]) -> str:
    """Build the table of methods of the documentation."""
    rows = [
        ["class", "pictures", "text", "paper", *CORPORA],
        ["---"] * 4 + ["---:"] * len(CORPORA),
    ]
    for method in methods:
        paper = method.paper
        if paper is None:
            description = [method.summary.rstrip("."), ""]
        else:
            description = [paper.pictures, paper.text]
        link = f"[{_citation(method.cited)}]({method.cited.url})" if method.cited else ""
        rows.append([f"`{method.path}`", *description, link, *_published_f1(method)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _tasks(method: MethodInfo) -> str:
    """Name the tasks that the paper reports, or ``pretraining`` if there are no predictions."""
    if method.is_pretraining:
        return "pretraining"
    paper = method.paper
    if paper is None:
        return ""
    return ", ".join(task.upper() for task in paper.tasks)


def _citation(paper: Paper) -> str:
    """Return authors, venue and year."""
    return f"{_authors(paper)}, {paper.venue} {paper.year}"


def _authors(paper: Paper) -> str:
    """Name one or two authors, or the first of more."""
    first, *others = paper.authors.split(", ")
    return f"{first} et al." if len(others) > 1 else " and ".join([first, *others])


def _published_f1(method: MethodInfo) -> list[str]:
    """Return the published F1 on each corpus, empty if there is none."""
    paper = method.paper
    if paper is None:
        return [""] * len(CORPORA)
    cells = []
    for corpus in CORPORA:
        scores = paper.score(corpus)
        cells.append(_cell(scores.f1) if scores else "")
    return cells


def _results_table(paper: Paper) -> Table:
    """Build a table of all published results."""
    table = Table("corpus", "setting", "P", "R", "F1", "F1 by type", title="Published, in percent")
    for result in paper.published:
        scores = result.scores
        by_type = ", ".join(f"{name} {_cell(value)}" for name, value in result.by_type.items())
        table.add_row(
            result.corpus,
            result.setting,
            _cell(scores.precision),
            _cell(scores.recall),
            _cell(scores.f1),
            by_type,
        )
    return table


def _ablation_table(paper: Paper) -> Table:
    """Build a table of the published ablations with their overlays."""
    table = Table(title="Ablations, published F1")
    for name in ("row", "configs/ablations/"):
        table.add_column(name, overflow="fold")
    for corpus in CORPORA:
        table.add_column(corpus.replace("Twitter", "T"), justify="right", no_wrap=True)
    for ablation in paper.ablations:
        cells = [f"{ablation.name} ({ablation.table})", f"{ablation.overlay}.yaml"]
        for corpus in CORPORA:
            scores = ablation.scores.get(corpus)
            cells.append("" if scores is None else _cell(scores.f1))
        table.add_row(*cells)
    return table


def _switch_table(method: MethodInfo) -> Table:
    """Build a table of the arguments of the method's own constructor."""
    table = Table(title="Switches (--model.init_args.NAME)")
    for name in ("switch", "type", "default", ""):
        table.add_column(name, overflow="fold")
    for switch in method.switches:
        cells = (switch.name, switch.type, repr(switch.default), switch.text)
        table.add_row(*map(Text, cells))
    return table


def _cell(score: float | None) -> str:
    """Format a published score, empty if there is none."""
    return "" if score is None else f"{score:.2f}"
