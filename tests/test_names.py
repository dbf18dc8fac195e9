"""Names in the whole package: each class once, and the public names of each package in its face."""

import ast
from collections import defaultdict
from pathlib import Path

import pytest
from helpers.paths import PACKAGE

FILES = sorted(PACKAGE.rglob("*.py"))
FACES = [file for file in FILES if file.name == "__init__.py"]


def class_names(source: str) -> list[str]:
    """Names of the classes that a module defines, at whatever depth."""
    return [node.name for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]


def repeated(sources: dict[str, str]) -> dict[str, list[str]]:
    """Modules by the names of the classes that more than one of them defines."""
    modules = defaultdict(list)
    for module, source in sources.items():
        for name in class_names(source):
            modules[name].append(module)
    return {name: places for name, places in modules.items() if len(places) > 1}


def test_each_class_name_is_defined_once():
    sources = {str(file.relative_to(PACKAGE)): file.read_text("utf-8") for file in FILES}
    assert repeated(sources) == {}


def test_a_repeated_class_name_is_found():
    sources = {"a.py": "class A: ...\nclass B: ...", "b.py": "def f():\n    class B: ..."}
    assert repeated(sources) == {"B": ["a.py", "b.py"]}


def listed_names(tree: ast.Module) -> list[str]:
    """Names in ``__all__``."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    pytest.fail("the face has no __all__")


def imported_names(tree: ast.Module) -> set[str]:
    """Names that a face imports from the package, also lazily."""
    return {
        alias.asname or alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmie.")
        for alias in node.names
    }


def submodules(folder: Path) -> set[str]:
    """Names of the modules and packages in a package."""
    return {
        path.stem
        for path in folder.iterdir()
        if (path.suffix == ".py" and not path.stem.startswith("__"))
        or (path / "__init__.py").exists()
    }


@pytest.mark.parametrize("face", FACES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_the_face_of_a_package_lists_its_names_or_else_its_modules(face):
    tree = ast.parse(face.read_text("utf-8"))
    expected = imported_names(tree) or submodules(face.parent)
    assert sorted(listed_names(tree)) == sorted(expected)
