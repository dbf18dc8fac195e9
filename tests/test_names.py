"""Names in the whole package: each class once, and the public names of each package in its face."""

import ast
from collections import defaultdict

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


@pytest.mark.parametrize("face", FACES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_the_face_of_a_package_lists_its_public_names(face):
    tree = ast.parse(face.read_text("utf-8"))
    imported = {
        alias.asname or alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmie.")
        for alias in node.names
    }
    listed = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    ]
    assert len(listed) == 1, "the face has no __all__"
    assert imported <= set(listed[0])
