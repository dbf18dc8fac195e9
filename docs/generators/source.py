"""Source code of functions and classes of the package, found by name without importing it."""

import ast
import re
import textwrap
from functools import cache
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
PACKAGE = REPOSITORY / "mmie"
_Definition = ast.ClassDef | ast.FunctionDef


class Source(NamedTuple):
    """Definition in the package.

    Attributes:
        path: Full dotted path.
        file: File below the repository.
        line: First line.
        code: Source without the docstring.
    """

    path: str
    file: str
    line: int
    code: str


def find_source(name: str) -> Source:
    """Find a class, a method or a function.

    Args:
        name: Name of a class, of a method (``Class.method``) or of a function of a module, with or
            without the module. Names of classes are unique in the package.

    Raises:
        KeyError: The package has no such definition, or several functions have the name.
    """
    found = []
    for file in _files():
        module = ".".join(file.relative_to(REPOSITORY).with_suffix("").parts)
        for path, node in _definitions(file).items():
            full = f"{module}.{path}"
            if name in (path, full):
                found.append(Source(full, str(file.relative_to(REPOSITORY)), *_code(file, node)))
    if len(found) != 1:
        raise KeyError(f"{name}: expected one definition, found {len(found)}")
    return found[0]


@cache
def _files() -> tuple[Path, ...]:
    """Return the modules of the package."""
    return tuple(sorted(PACKAGE.rglob("*.py")))


@cache
def _definitions(file: Path) -> dict[str, _Definition]:
    """Return the functions, classes and methods of a module by their name in it."""
    definitions: dict[str, _Definition] = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, _Definition):
            definitions[node.name] = node
        if isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    definitions[f"{node.name}.{member.name}"] = member
    return definitions


def _code(file: Path, node: _Definition) -> tuple[int, str]:
    """Return first line and source of a definition, without its docstring."""
    lines = file.read_text(encoding="utf-8").splitlines()
    first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
    kept = lines[first - 1 : node.end_lineno]
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        docstring = node.body[0]
        del kept[docstring.lineno - first : (docstring.end_lineno or docstring.lineno) - first + 1]
    code = textwrap.dedent("\n".join(kept))
    return first, re.sub(r"(:\n)\n+", r"\1", code)
