"""The methods that are known here: their papers, switches and published scores, for a terminal or as Markdown."""

import importlib
import inspect
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import docstring_parser
from rich.console import Group
from rich.table import Column, Table
from rich.text import Text

import mmie.methods
from mmie.methods import ExtractionModule
from mmie.methods.base import full_name
from mmie.methods.loading import known_methods
from mmie.methods.papers import CORPORA, Paper, PublishedScores
from mmie.types import MmieError

Method = type[ExtractionModule]
_UNDATED = 9999
_NUMBER = "{:.2f}"


class MethodError(MmieError, ValueError):
    """A name that is no method's."""


@dataclass(frozen=True, slots=True)
class Switch:
    """A constructor argument: its name, type, default and what the docstring says of it."""

    name: str
    type: str
    default: object
    text: str


def listed_methods() -> list[Method]:
    """All methods of the package, and imported ones that name a paper of their own; by year, then name."""
    ours = f"{mmie.methods.__name__}."
    listed = [
        method
        for method in known_methods()
        if _is_usable(method)
        and (method.__module__.startswith(ours) or own_paper(method) is not None)
    ]
    return sorted(
        listed,
        key=lambda method: (method.paper.year if method.paper else _UNDATED, method.__name__),
    )


def find_listed(name: str) -> Method:
    """The method of that class name, in whatever case; or the class of that full path, which is imported.

    Raises:
        MethodError: There is none.
    """
    for method in listed_methods():
        if name.lower() == method.__name__.lower():
            return method
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute) if module else None
    except (ImportError, AttributeError):
        found = None
    if inspect.isclass(found) and issubclass(found, ExtractionModule) and _is_usable(found):
        return found
    known = ", ".join(method.__name__ for method in listed_methods())
    raise MethodError(f"no method '{name}': expected one of {known}, or the full path of a class")


def own_paper(method: Method) -> Paper | None:
    """The paper that published this very class; a subclass that names none has no scores of its own."""
    paper: Paper | None = vars(method).get("paper")
    return paper


def public_path(method: Method) -> str:
    """The name by which a configuration calls the class."""
    exported = getattr(mmie.methods, method.__name__, None) is method
    return f"{mmie.methods.__name__}.{method.__name__}" if exported else full_name(method)


def switches(method: Method) -> list[Switch]:
    """Arguments that the class's own constructor names; further ones are its parents'."""
    if "__init__" not in vars(method):
        return []
    texts = {
        param.arg_name: param.description or ""
        for param in docstring_parser.parse(_docstring(method)).params
    }
    return [
        Switch(
            name,
            _type_name(parameter.annotation),
            parameter.default,
            " ".join(texts.get(name, "").split()),
        )
        for name, parameter in inspect.signature(method.__init__).parameters.items()
        if parameter.default is not parameter.empty
    ]


def describe(method: Method) -> dict[str, Any]:
    """All that is known of a method, in plain values."""
    paper = own_paper(method)
    return {
        "name": method.__name__,
        "class": public_path(method),
        "summary": _summary(method),
        "url": method.paper.url if method.paper else None,
        "paper": None if paper is None else asdict(paper),
        "switches": [asdict(switch) for switch in switches(method)],
    }


def render_methods(methods: Sequence[Method]) -> Table:
    """A row a method, with its published F1."""
    columns = (Column(name, overflow="fold") for name in ("method", "tasks", "paper"))
    scores = (
        Column(corpus.replace("Twitter", "T"), justify="right", no_wrap=True) for corpus in CORPORA
    )
    table = Table(*columns, *scores, title="Methods and published F1")
    for method in methods:
        year = f"{_authors(method.paper)} {method.paper.year}" if method.paper else ""
        table.add_row(method.__name__, _tasks(method), year, *_scores(method))
    return table


def render_method(method: Method) -> Group:
    """A method's paper, all that it reports, and the method's switches."""
    parts: list[Text | Table] = [Text(f"{public_path(method)}: {_summary(method)}")]
    if method.paper is not None:
        parts.append(Text(f"{method.paper.title}. {_citation(method)}, {method.paper.url}"))
    paper = own_paper(method)
    if paper is not None:
        parts += [Text(paper.remark)] if paper.remark else []
        parts += [_results_table(paper)]
        parts += [_ablation_table(paper)] if paper.ablations else []
    parts += [_switch_table(method)] if switches(method) else []
    return Group(
        *parts, Text(f"It takes the arguments of {' and '.join(_parents(method))} as well.")
    )


def render_markdown(methods: Sequence[Method]) -> str:
    """The table of methods that stands in the README."""
    rows = [["class", "pictures", "text", "paper", *CORPORA], ["---"] * 4 + ["---:"] * len(CORPORA)]
    for method in methods:
        paper = own_paper(method)
        described = [paper.pictures, paper.text] if paper else [_summary(method).rstrip("."), ""]
        link = f"[{_citation(method)}]({method.paper.url})" if method.paper else ""
        rows.append([f"`{public_path(method)}`", *described, link, *_scores(method)])
    return "\n".join(" ".join(["|", " | ".join(row), "|"]) for row in rows)


def _is_usable(method: Method) -> bool:
    return not inspect.isabstract(method) and not method.__name__.startswith("_")


def _docstring(method: Method) -> str:
    return inspect.cleandoc(method.__doc__ or "")


def _summary(method: Method) -> str:
    """First paragraph of the docstring."""
    return " ".join(_docstring(method).partition("\n\n")[0].split())


def _tasks(method: Method) -> str:
    """Tasks that the paper reports; a module whose best epoch no F1 tells answers nothing."""
    if method.monitor != ExtractionModule.monitor:
        return "pretraining"
    paper = own_paper(method)
    return ", ".join(task.upper() for task in paper.tasks) if paper else ""


def _citation(method: Method) -> str:
    paper = method.paper
    return f"{_authors(paper)}, {paper.venue} {paper.year}" if paper else ""


def _authors(paper: Paper) -> str:
    """One or two authors, or the first one."""
    first, *others = paper.authors.split(", ")
    return f"{first} et al." if len(others) > 1 else " and ".join([first, *others])


def _scores(method: Method) -> list[str]:
    """Published F1 on each corpus, empty where there is none."""
    paper = own_paper(method)
    found = [paper.score(corpus) if paper else None for corpus in CORPORA]
    return [_NUMBER.format(scores.f1) if scores else "" for scores in found]


def _type_name(annotation: object) -> str:
    """A type as one writes it, without its modules."""
    return re.sub(r"\b(?:\w+\.)+(?=[A-Za-z])", "", inspect.formatannotation(annotation))


def _parents(method: Method) -> list[str]:
    """Classes whose arguments a method takes besides its own."""
    return [
        parent.__name__
        for parent in method.__mro__[1:]
        if issubclass(parent, ExtractionModule) and "__init__" in vars(parent)
    ]


def _results_table(paper: Paper) -> Table:
    table = Table("corpus", "setting", "P", "R", "F1", "F1 by type", title="Published, in percent")
    for row in paper.published:
        by_type = ", ".join(
            f"{name} {_NUMBER.format(value)}" for name, value in row.by_type.items()
        )
        table.add_row(row.corpus, row.setting, *_cells(row.scores), by_type)
    return table


def _cells(scores: PublishedScores) -> list[str]:
    values = (scores.precision, scores.recall, scores.f1)
    return ["" if value is None else _NUMBER.format(value) for value in values]


def _ablation_table(paper: Paper) -> Table:
    table = Table("configs/ablations/", *CORPORA, title="Ablations, published F1")
    for name, scores in paper.ablations.items():
        cells = (_NUMBER.format(scores[corpus]) if corpus in scores else "" for corpus in CORPORA)
        table.add_row(f"{name}.yaml", *cells)
    return table


def _switch_table(method: Method) -> Table:
    columns = (Column(name, overflow="fold") for name in ("switch", "type", "default", ""))
    table = Table(*columns, title="Switches (--model.init_args.NAME)")
    for switch in switches(method):
        table.add_row(
            Text(switch.name), Text(switch.type), Text(repr(switch.default)), Text(switch.text)
        )
    return table
