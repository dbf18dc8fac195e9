"""Methods that are available, with their papers, switches and published scores."""

import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, TypeGuard

import docstring_parser

import mmie.methods
from mmie.methods import ExtractionModule
from mmie.methods.base import full_name
from mmie.methods.init_args import constructor_defaults
from mmie.methods.loading import known_methods
from mmie.methods.papers import EDITIONS, Paper, Published
from mmie.methods.published import Configuration, find_published
from mmie.reports.imported import imported_object
from mmie.runs import Run
from mmie.types import MmieError
from mmie.utils.text import did_you_mean

MethodClass = type[ExtractionModule]
_YEAR_WITHOUT_PAPER = 9999
_DEPARTURES = "**Departures.**"


class MethodError(MmieError, ValueError):
    """A name that no method has."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Constructor argument of a method.

    Attributes:
        name: Name of the argument.
        type: Its type, without module names.
        default: Its default.
        text: Its description in the docstring.
    """

    name: str
    type: str
    default: object
    text: str


def listed_methods() -> list[MethodClass]:
    """List the methods of the package, and imported ones with a paper, by year and name."""
    package = f"{mmie.methods.__name__}."
    methods = []
    for method in known_methods():
        is_listed = method.__module__.startswith(package) or own_paper(method) is not None
        if is_listed and _is_usable(method):
            methods.append(method)
    years = {method: method.paper.year for method in methods if method.paper}
    return sorted(
        methods, key=lambda method: (years.get(method, _YEAR_WITHOUT_PAPER), method.__name__)
    )


def find_method_class(name: str) -> MethodClass:
    """Return the method of a name.

    Args:
        name: A class name in upper or lower case, or the full path of a class, which is imported.

    Raises:
        MethodError: No method has this name.
    """
    method = find_imported_method(name)
    if method is None:
        imported = _import_object(name)
        if _is_usable(imported):
            method = imported
    if method is not None:
        return method
    names = [method.__name__ for method in listed_methods()]
    hint = did_you_mean(name, names)
    raise MethodError(
        f"no method '{name}': expected one of {', '.join(names)}, or the full path of a class{hint}"
    )


def find_imported_method(name: str) -> MethodClass | None:
    """Return the method of a name, None if it is no method or has not been imported.

    Args:
        name: A class name in upper or lower case, or the full path of a class, which a run names.
    """
    for method in listed_methods():
        if name.lower() == method.__name__.lower():
            return method
    imported = imported_object(name)
    return imported if _is_usable(imported) else None


def own_paper(method: MethodClass) -> Paper | None:
    """Return the paper that a class names itself, without a paper inherited from its parent."""
    paper: Paper | None = vars(method).get("paper")
    return paper


def find_paper(class_path: str) -> Paper | None:
    """Return the paper of a class by its full path, None if it is not imported or has no paper."""
    method = find_imported_method(class_path)
    return None if method is None else own_paper(method)


def published_result(run: Run) -> tuple[Published | None, str]:
    """Find the row of the tables of a method's paper that a run repeats.

    See `mmie.methods.published` for what decides.

    Returns:
        The row and the remark on the paper's scores; None and an empty string without a row.
    """
    paper = find_paper(run.class_path)
    if paper is None:
        return None, ""
    settings = {**run.settings, "data.pictures": run.pictures}
    trained = _configuration(run.class_path, run.trained_on or run.corpus, settings)
    start = None
    if run.start is not None:
        start = _configuration(run.start.class_path, run.start.corpus, run.start.settings)
    row = find_published(paper, trained, run.corpus, run.edition, start)
    if row is None:
        return None, ""
    remark = paper.remark
    editions = paper.editions.get(row.corpus, EDITIONS[row.corpus])
    if run.edition is None:
        note = f"The run does not record the edition. The published one is {' or '.join(editions)}."
        remark = f"{remark} {note}".strip()
    return row, remark


def _configuration(class_path: str, corpus: str, settings: Mapping[str, Any]) -> Configuration:
    """Describe a fit, with the defaults of its method if the class has been imported."""
    defaults: dict[str, object] = {}
    method = find_imported_method(class_path)
    if method is None:
        return Configuration(class_path, corpus, settings, defaults)
    for name, value in constructor_defaults(method).items():
        defaults[f"model.{name}"] = value
    return Configuration(method.__name__, corpus, settings, defaults)


def public_path(method: MethodClass) -> str:
    """Return the name of a class in a configuration."""
    if getattr(mmie.methods, method.__name__, None) is method:
        return f"{mmie.methods.__name__}.{method.__name__}"
    return full_name(method)


def switches(method: MethodClass) -> list[Switch]:
    """List the arguments with a default that the constructor of the class itself names."""
    if "__init__" not in vars(method):
        return []
    docstring = docstring_parser.parse(inspect.cleandoc(method.__doc__ or ""))
    texts = {entry.arg_name: entry.description or "" for entry in docstring.params}
    found = []
    for name, parameter in inspect.signature(method.__init__).parameters.items():
        if parameter.default is not parameter.empty:
            annotation = inspect.formatannotation(parameter.annotation)
            type_name = re.sub(r"\b(?:\w+\.)+(?=[A-Za-z])", "", annotation)
            text = " ".join(texts.get(name, "").split())
            found.append(Switch(name, type_name, parameter.default, text))
    return found


def parents_with_arguments(method: MethodClass) -> list[str]:
    """Name the parent classes whose constructor arguments a method takes as well."""
    return [
        parent.__name__
        for parent in method.__mro__[1:]
        if issubclass(parent, ExtractionModule) and "__init__" in vars(parent)
    ]


def summary_of(method: MethodClass) -> str:
    """Return the first paragraph of the docstring as one line."""
    paragraph, _, _ = inspect.cleandoc(method.__doc__ or "").partition("\n\n")
    return " ".join(paragraph.split())


def departures_of(method: MethodClass) -> str:
    """Return where a method departs from its paper: the last section of its module's docstring.

    Returns:
        Paragraphs and list items in one line each, empty if the docstring has no section
        ``**Departures.**``.
    """
    docstring = inspect.getdoc(importlib.import_module(method.__module__)) or ""
    _, _, section = docstring.partition(_DEPARTURES)
    return re.sub(r"(?<=\S)\n(?!\n|- ) *", " ", section.strip())


def describe(method: MethodClass) -> dict[str, Any]:
    """Describe a method in plain values."""
    paper = own_paper(method)
    return {
        "name": method.__name__,
        "class": public_path(method),
        "summary": summary_of(method),
        "url": method.paper.url if method.paper else None,
        "paper": None if paper is None else asdict(paper),
        "departures": departures_of(method),
        "switches": [asdict(switch) for switch in switches(method)],
    }


def _is_usable(candidate: object) -> TypeGuard[MethodClass]:
    """Tell whether an object is the class of a method, neither abstract nor private."""
    if not inspect.isclass(candidate) or not issubclass(candidate, ExtractionModule):
        return False
    return not inspect.isabstract(candidate) and not candidate.__name__.startswith("_")


def _import_object(path: str) -> Any:
    """Import an object by its full path, None if no module or attribute has that path."""
    module, _, attribute = path.rpartition(".")
    if not module:
        return None
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
