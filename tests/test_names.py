"""Names in the whole package: each class once, and the public names of each subpackage."""

import ast
from collections import defaultdict
from pathlib import Path

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
    return {name: definitions for name, definitions in modules.items() if len(definitions) > 1}


def test_each_class_name_is_defined_once():
    sources = {str(file.relative_to(PACKAGE)): file.read_text("utf-8") for file in FILES}
    assert repeated_class_names(sources) == {}


def test_a_repeated_class_name_is_detected():
    sources = {"a.py": "class A: ...\nclass B: ...", "b.py": "def f():\n    class B: ..."}
    assert repeated_class_names(sources) == {"B": ["a.py", "b.py"]}


def listed_names(tree: ast.Module) -> list[str]:
    """Return the names in ``__all__``."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    pytest.fail("the package has no __all__")


def imported_names(tree: ast.Module) -> set[str]:
    """Return the names that a module imports from mmie, also lazily."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmie."):
            names.update(alias.asname or alias.name for alias in node.names)
    return names


def submodules(folder: Path) -> set[str]:
    """Return the names of the modules and packages in a package."""
    names = set()
    for path in folder.iterdir():
        is_module = path.suffix == ".py" and not path.stem.startswith("__")
        if is_module or (path / "__init__.py").exists():
            names.add(path.stem)
    return names


@pytest.mark.parametrize("file", INIT_FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_package_lists_its_imported_names_or_else_its_modules(file):
    tree = ast.parse(file.read_text("utf-8"))
    expected = imported_names(tree) or submodules(file.parent)
    assert sorted(listed_names(tree)) == sorted(expected)
