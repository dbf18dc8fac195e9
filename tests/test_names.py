"""Names in the whole package: each class once, and the public names of each subpackage."""

import ast
from collections import defaultdict

import pytest
from helpers.paths import PACKAGE

FILES = sorted(PACKAGE.rglob("*.py"))
INIT_FILES = [file for file in FILES if file.name == "__init__.py"]


def class_names(source: str) -> list[str]:
    """Return the names of the classes that a module defines, at any depth."""
    return [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]


def repeated_class_names(sources: dict[str, str]) -> dict[str, list[str]]:
    """Return the names of classes that several modules define, each with its modules."""
    modules = defaultdict(list)
    for module, source in sources.items():
        for name in class_names(source):
            modules[name].append(module)
    return {name: places for name, places in modules.items() if len(places) > 1}


def test_each_class_name_is_defined_once():
    sources = {str(file.relative_to(PACKAGE)): file.read_text("utf-8") for file in FILES}
    assert repeated_class_names(sources) == {}


def test_a_repeated_class_name_is_detected():
    sources = {"a.py": "class A: ...\nclass B: ...", "b.py": "def f():\n    class B: ..."}
    assert repeated_class_names(sources) == {"B": ["a.py", "b.py"]}


def imported_names(tree: ast.Module) -> set[str]:
    """Return the names that a module imports from the package at its top level."""
    names = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmie."):
            names.update(alias.asname or alias.name for alias in node.names)
    return names


@pytest.mark.parametrize("file", INIT_FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_package_lists_its_public_names(file):
    tree = ast.parse(file.read_text("utf-8"))
    lists = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            lists.append(ast.literal_eval(node.value))
    assert len(lists) == 1, "the package has no __all__"
    assert imported_names(tree) <= set(lists[0])
