"""Reference of the public classes and functions: a page for each room, which mkdocstrings fills."""

import ast
import re
from pathlib import Path

from source import PACKAGE, REPOSITORY

_WITHOUT_PAGE = ("cli",)
"""Rooms without a page. The commands have the page of commands."""


def rooms() -> dict[str, str]:
    """Return the rooms that have a page, each with what lives there."""
    table = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `mmie/(\w+)(?:\.py|/)` \| ([^|]*) \|", table, re.MULTILINE)
    return {room: purpose for room, purpose in rows if room not in _WITHOUT_PAGE}


def navigation() -> list[str | dict[str, str]]:
    """Return the entries of the pages in the navigation."""
    names = ["mmie", *(f"mmie.{room}" for room in rooms())]
    entries: list[str | dict[str, str]] = ["reference/python/index.md"]
    for name in names:
        entries.append({name: f"reference/python/{name.rpartition('.')[2]}.md"})
    return entries


def render_pages() -> dict[str, str | bytes]:
    """Write the pages by path."""
    pages: dict[str, str | bytes] = {}
    lines = ["# Python", "The public classes and functions of the package, by room.", ""]
    lines.append("- [mmie](mmie.md): the names that are used most")
    names = [
        f"- [`mmie.{name}`][{target}]" for name, target in _exports(PACKAGE / "__init__.py").items()
    ]
    pages["reference/python/mmie.md"] = "\n".join(["# mmie", "", *names, ""])
    for room, purpose in rooms().items():
        lines.append(f"- [mmie.{room}]({room}.md): {purpose}")
        pages[f"reference/python/{room}.md"] = "\n\n".join(_render_module(f"mmie.{room}", 1))
    pages["reference/python/index.md"] = "\n".join(lines) + "\n"
    return pages


def is_documented(path: str) -> bool:
    """Tell whether a page has a section for a function, a method or a class.

    Args:
        path: Full path in a module that is listed as a whole, or below a class that a package
            exports.
    """
    parts = path.split(".")
    if any(part.startswith("_") for part in parts):
        return False
    if _exports(_file(".".join(parts[:2]))):
        exported = _exports(_file(".".join(parts[:2]))).values()
        return any(f"{path}.".startswith(f"{target}.") for target in exported)
    return parts[1] in rooms()


def _render_module(module: str, level: int) -> list[str]:
    """Write the sections of a module or package.

    A package whose ``__all__`` lists modules has a section for each of them.
    """
    file = _file(module)
    if file.name != "__init__.py":
        return [_directive(module, level, [])]
    exported = _exports(file)
    if exported:
        return [_directive(module, level, ["members: false"])] + [
            _directive(path, level + 1, []) for path in exported.values()
        ]
    parts = [_directive(module, level, ["members: false"])]
    for name in _listed(file):
        parts += _render_module(f"{module}.{name}", level + 1)
    return parts


def _directive(path: str, level: int, options: list[str]) -> str:
    """Write a directive of mkdocstrings."""
    lines = [f"heading_level: {level}", *options]
    if level == 1:
        lines.append("show_root_full_path: true")
    return "\n".join([f"::: {path}", "    options:", *(f"      {line}" for line in lines)])


def _file(module: str) -> Path:
    """Return the file of a module or package."""
    path = REPOSITORY.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _listed(file: Path) -> list[str]:
    """Return the names in ``__all__``."""
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return list(ast.literal_eval(node.value))
    return []


def _exports(file: Path) -> dict[str, str]:
    """Return the full paths of the names in ``__all__`` that a package imports."""
    paths = {}
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmie"):
            for alias in node.names:
                paths[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return {name: _definition(paths[name]) for name in _listed(file) if name in paths}


def _definition(path: str) -> str:
    """Follow the imports of packages to the module that defines a name."""
    module, _, name = path.rpartition(".")
    file = _file(module)
    return _exports(file).get(name, path) if file.name == "__init__.py" else path
