"""Methods that are available, with their papers, switches and published scores.

Importing the classes takes seconds. Facts about the package's own methods are therefore read from a
table, which `mmie.reports.method_classes` writes from the classes and a test compares with them.
Methods of one's own are described from their classes, which are imported already.
"""

import functools
import importlib
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.resources import files
from typing import Any

from mmie.methods import papers
from mmie.methods.papers import EDITIONS, Paper, Published
from mmie.methods.published import Configuration, find_published
from mmie.reports.imported import imported_object
from mmie.runs import Run
from mmie.types import MmieError
from mmie.utils.text import did_you_mean

TABLE = "methods.json"
_YEAR_WITHOUT_PAPER = 9999
_BASE = "mmie.methods.base"
"""Module without which no method of one's own has been imported."""


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


@dataclass(frozen=True, slots=True)
class MethodInfo:
    """Facts about a method.

    Attributes:
        name: Name of its class.
        path: Name of its class in a configuration.
        module: Module that defines the class.
        summary: First paragraph of the docstring in one line.
        departures: Where the method departs from its paper: the last section of its module's
            docstring, with paragraphs and list items in one line each. Empty without such a
            section.
        switches: Arguments with a default that the constructor of the class itself names.
        parents: Parent classes whose constructor arguments it takes as well.
        defaults: Defaults of the arguments of the class and its parents.
        is_pretraining: Whether it makes no predictions.
        paper: Paper that the class names itself.
        cited: Paper of the class, or of its parent.
    """

    name: str
    path: str
    module: str
    summary: str
    departures: str
    switches: tuple[Switch, ...]
    parents: tuple[str, ...]
    defaults: Mapping[str, object]
    is_pretraining: bool
    paper: Paper | None
    cited: Paper | None

    def to_dict(self) -> dict[str, Any]:
        """Describe the method in plain values."""
        return {
            "name": self.name,
            "class": self.path,
            "summary": self.summary,
            "url": self.cited.url if self.cited else None,
            "paper": None if self.paper is None else asdict(self.paper),
            "departures": self.departures,
            "switches": [asdict(switch) for switch in self.switches],
        }


def listed_methods() -> list[MethodInfo]:
    """List the methods of the package, and imported ones with a paper, by year and name."""
    methods = list(package_methods())
    if _BASE in sys.modules:
        from mmie.reports.method_classes import imported_methods

        methods += imported_methods()
    return sorted(methods, key=_year_and_name)


def find_method_info(name: str) -> MethodInfo:
    """Return the method of a name.

    Args:
        name: A class name in upper or lower case, or the full path of a class, which is imported.

    Raises:
        MethodError: No method has this name.
    """
    method = find_imported_method(name) or _describe(_import_object(name))
    if method is not None:
        return method
    names = [method.name for method in listed_methods()]
    hint = did_you_mean(name, names)
    raise MethodError(
        f"no method '{name}': expected one of {', '.join(names)}, or the full path of a class{hint}"
    )


def find_imported_method(name: str) -> MethodInfo | None:
    """Return the method of a name, None if it is no method or has not been imported.

    Args:
        name: A class name in upper or lower case, or the full path of a class, which a run names.
    """
    for method in listed_methods():
        paths = (method.path, f"{method.module}.{method.name}")
        if name.lower() == method.name.lower() or name in paths:
            return method
    return _describe(imported_object(name))


def find_paper(class_path: str) -> Paper | None:
    """Return the paper of a class by its full path, None if it is not imported or has no paper."""
    method = find_imported_method(class_path)
    return None if method is None else method.paper


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


@functools.cache
def package_methods() -> tuple[MethodInfo, ...]:
    """Return the methods of the package from the table, by year and name."""
    records = json.loads(files("mmie.reports").joinpath(TABLE).read_text("utf-8"))
    return tuple(sorted(map(from_record, records), key=_year_and_name))


def from_record(record: Mapping[str, Any]) -> MethodInfo:
    """Build the facts of a record of the table, which names papers."""
    found = {}
    for key in ("paper", "cited"):
        found[key] = getattr(papers, record[key]) if record[key] else None
    switches = tuple(Switch(**switch) for switch in record["switches"])
    return MethodInfo(
        **{**record, **found, "switches": switches, "parents": tuple(record["parents"])}
    )


def _configuration(class_path: str, corpus: str, settings: Mapping[str, Any]) -> Configuration:
    """Describe a fit, with the defaults of its method if the class has been imported."""
    defaults: dict[str, object] = {}
    method = find_imported_method(class_path)
    if method is None:
        return Configuration(class_path, corpus, settings, defaults)
    for name, value in method.defaults.items():
        defaults[f"model.{name}"] = value
    return Configuration(method.name, corpus, settings, defaults)


def _year_and_name(method: MethodInfo) -> tuple[int, str]:
    """Return the year of a method's paper and its name."""
    return method.cited.year if method.cited else _YEAR_WITHOUT_PAPER, method.name


def _describe(candidate: object) -> MethodInfo | None:
    """Describe an object if it is the class of a method."""
    if _BASE not in sys.modules:
        return None
    from mmie.reports.method_classes import describe_class, is_usable

    return describe_class(candidate) if is_usable(candidate) else None


def _import_object(path: str) -> Any:
    """Import an object by its full path, None if no module or attribute has that path."""
    module, _, attribute = path.rpartition(".")
    if not module:
        return None
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, TypeError, ValueError):
        return None
