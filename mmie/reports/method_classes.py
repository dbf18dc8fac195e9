"""Facts about methods from their classes: ``python -m mmie.reports.method_classes`` writes them.

``make options`` runs it. `mmie.reports.methods` reads the table.
"""

import importlib
import inspect
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeGuard

import docstring_parser

import mmie.methods
from mmie.methods import ExtractionModule, papers
from mmie.methods.base import full_name
from mmie.methods.init_args import constructor_defaults
from mmie.methods.loading import known_methods
from mmie.methods.papers import Paper
from mmie.reports.methods import TABLE, MethodInfo, Switch
from mmie.utils.files import atomic_write_text

MethodClass = type[ExtractionModule]
_DEPARTURES = "**Departures.**"


def describe_class(method: MethodClass) -> MethodInfo:
    """Collect the facts about a method from its class, its parents and its module."""
    paragraph, _, _ = inspect.cleandoc(method.__doc__ or "").partition("\n\n")
    docstring = inspect.getdoc(importlib.import_module(method.__module__)) or ""
    _, _, departures = docstring.partition(_DEPARTURES)  # its last section
    path = full_name(method)
    if getattr(mmie.methods, method.__name__, None) is method:
        path = f"{mmie.methods.__name__}.{method.__name__}"
    return MethodInfo(
        name=method.__name__,
        path=path,
        module=method.__module__,
        summary=" ".join(paragraph.split()),
        departures=re.sub(r"(?<=\S)\n(?!\n|- ) *", " ", departures.strip()),
        switches=tuple(_switches(method)),
        parents=tuple(_parents_with_arguments(method)),
        defaults=constructor_defaults(method),
        # only a pretraining is monitored by something else than F1
        is_pretraining=method.monitor != ExtractionModule.monitor,
        paper=vars(method).get("paper"),
        cited=method.paper,
    )


def imported_methods() -> list[MethodInfo]:
    """Describe the methods outside of the package that have been imported and name a paper."""
    found = []
    for method in known_methods():
        if not _is_packaged(method) and is_usable(method) and "paper" in vars(method):
            found.append(describe_class(method))
    return found


def is_usable(candidate: object) -> TypeGuard[MethodClass]:
    """Tell whether an object is the class of a method, neither abstract nor private."""
    if not inspect.isclass(candidate) or not issubclass(candidate, ExtractionModule):
        return False
    return not inspect.isabstract(candidate) and not candidate.__name__.startswith("_")


def build_table() -> list[dict[str, Any]]:
    """Build the records of the package's methods, with papers by the names of their constants."""
    names = {id(value): name for name, value in vars(papers).items() if isinstance(value, Paper)}
    records = []
    for method in known_methods():
        if not _is_packaged(method) or not is_usable(method):
            continue
        info = describe_class(method)
        record = asdict(info)
        record |= {"paper": names.get(id(info.paper)), "cited": names.get(id(info.cited))}
        records.append(json.loads(json.dumps(record)))
    return sorted(records, key=lambda record: record["name"])


def _is_packaged(method: MethodClass) -> bool:
    """Tell whether a method belongs to the package."""
    return method.__module__.startswith(f"{mmie.methods.__name__}.")


def _switches(method: MethodClass) -> list[Switch]:
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


def _parents_with_arguments(method: MethodClass) -> list[str]:
    """Name the parent classes whose constructor arguments a method takes as well."""
    return [
        parent.__name__
        for parent in method.__mro__[1:]
        if issubclass(parent, ExtractionModule) and "__init__" in vars(parent)
    ]


def main() -> None:
    """Write the table beside this module."""
    file = Path(__file__).with_name(TABLE)
    atomic_write_text(file, json.dumps(build_table(), indent=1) + "\n")
    print(file)


if __name__ == "__main__":
    main()
