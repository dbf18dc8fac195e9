"""The table of rooms and the rules of every file, checked on the package's source."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from helpers.paths import PACKAGE, REPOSITORY

METHOD_SUPPORT = (
    "base",
    "init_args",
    "initialisation",
    "inspection",
    "lightning_hooks",
    "loading",
    "multimodal",
    "optimizer",
    "papers",
    "parameter_groups",
    "published",
    "regularisation",
    "tasks",
    "window_scores",
)
METHOD_FILES = {file.stem for file in (PACKAGE / "methods").glob("[!_]*.py")} - set(METHOD_SUPPORT)
PARENTS = {"rsrnet": ["hvpnet"], "mlnet_pretraining": ["mlnet"]}
"""Modules of methods that are subclasses of another one, each with its parent's module."""


def read_table(text: str) -> dict[str, set[str]]:
    """Return the rooms in the table's order, each with the modules that it may not import."""
    rows = re.findall(r"^\| `mmie/(\w+)(?:\.py|/)` \|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    return {room: set(re.findall(r"`([\w.]+)`", barred)) for room, barred in rows}


BARRED = read_table((REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8"))
BARRED["training"] |= {f"mmie.methods.{method}" for method in METHOD_FILES}
ROOMS = tuple(BARRED)
TASKS = {"ner", "re"}
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def room_of(module: str) -> str | None:
    """Return the room of a module of the package; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def imports(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Yield the full names of all that a module imports, at any depth.

    Args:
        source: Source of the module.
        module: Its full name.
        is_package: Whether it is a package's ``__init__.py``.
    """
    base = module.split(".") if is_package else module.split(".")[:-1]
    tree = ast.parse(source)
    if room_of(module) is None:  # names of the rooms are imported on demand
        tree.body = [node for node in tree.body if not _is_for_types(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parts = base[: len(base) - node.level + 1] if node.level else []
            if node.module:
                parts = [*parts, node.module]
            yield from (".".join([*parts, alias.name]) for alias in node.names)


def _is_for_types(node: ast.AST) -> bool:
    """Tell whether a statement is for type checkers alone."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def is_within(name: str, package: str) -> bool:
    """Tell whether a name is a package or lies in it."""
    return name == package or name.startswith(f"{package}.")


def layer_faults(source: str, module: str, is_package: bool = False) -> list[str]:
    """Return the imports of a module that the table of rooms forbids."""
    names = sorted(set(imports(source, module, is_package)))
    return [name for name in names if is_forbidden(name, module)]


def is_forbidden(name: str, module: str) -> bool:
    """Tell whether a module may not import a name."""
    room = room_of(module)
    is_internal = is_within(name, "mmie")
    if room is None:
        return is_internal
    if any(is_within(name, barred) for barred in BARRED.get(room, ())):
        return True
    if not is_internal:
        return False
    imported_room = room_of(name)
    if room == imported_room == "methods" and module != "mmie.methods":
        return not is_shared_by_methods(name, module)
    return imported_room in ROOMS and ROOMS.index(imported_room) > ROOMS.index(room)


def is_shared_by_methods(name: str, module: str) -> bool:
    """Tell whether a method's module may import a name of the room of methods.

    All methods share some modules, and a subclass imports its parent's.
    """
    allowed = (*METHOD_SUPPORT, *PARENTS.get(module.rpartition(".")[2], ()))
    return any(is_within(name, f"mmie.methods.{other}") for other in allowed)


def constants(node: ast.AST) -> set[object]:
    """Return the constants of an expression that is a constant, a tuple, a list or a set."""
    members = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return {member.value for member in members if isinstance(member, ast.Constant)}


def task_tests(source: str, anywhere: bool = False) -> list[int]:
    """Return the lines that compare something with the name of a task.

    Args:
        source: Source of a module.
        anywhere: Return all lines that hold the name of a task.
    """
    lines = []
    for node in ast.walk(ast.parse(source)):
        values = set()
        if isinstance(node, ast.Compare):
            values = set().union(*map(constants, (node.left, *node.comparators)))
        elif isinstance(node, ast.MatchValue):
            values = constants(node.value)
        elif anywhere and isinstance(node, ast.Constant):
            values = {node.value}
        if TASKS & {value for value in values if isinstance(value, str)}:
            lines.append(node.lineno)
    return lines


def code_faults(source: str) -> list[str]:
    """Return the lines and names of what no file may hold."""
    faults = []
    for number, line in enumerate(source.splitlines(), 1):
        faults += [f"{number}: {mark}" for mark in re.findall(r"\b(?:TODO|FIXME|XXX)\b", line)]
    for node in ast.walk(ast.parse(source)):
        faults += [f"{getattr(node, 'lineno', 0)}: {fault}" for fault in node_faults(node)]
    return faults


def node_faults(node: ast.AST) -> Iterator[str]:
    """Yield what no file may hold, in a single node of its syntax tree."""
    if isinstance(node, ast.Constant) and type(node.value) is int and node.value == 768:
        yield "literal 768"
    if isinstance(node, ast.ExceptHandler) and node.type is None:
        yield "bare except"
    if isinstance(node, ast.Import):
        yield from unpicklers(alias.name for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        yield from unpicklers([node.module or ""])
        if any(alias.name == "*" for alias in node.names):
            yield "import *"
    if isinstance(node, ast.Call):
        yield from unsafe_calls(node)


def unpicklers(modules: Iterable[str]) -> list[str]:
    """Return the modules that can unpickle."""
    return [module for module in modules if module.split(".")[0] in UNPICKLERS]


def unsafe_calls(node: ast.Call) -> Iterator[str]:
    """Yield the name of a call that may run code from a file."""
    name = ast.unparse(node.func)
    arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if name in {"eval", "exec"}:
        yield name
    if name == "torch.load" and arguments.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if arguments.get("allow_pickle", "False") != "False":
        yield "allow_pickle"


def module_name(file: Path) -> str:
    """Return the full name of a file's module."""
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(PACKAGE.rglob("*.py"))
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))


def test_every_room_is_in_the_table():
    names = set()
    for path in PACKAGE.iterdir():
        if path.suffix == ".py" or (path / "__init__.py").exists():
            names.add(path.stem)
    assert names - {"__init__"} == set(ROOMS)


@every_file
def test_imports_only_from_rooms_above(file):
    source = file.read_text(encoding="utf-8")
    assert layer_faults(source, module_name(file), file.stem == "__init__") == []


@every_file
def test_only_the_data_and_one_module_of_methods_test_for_a_task(file):
    name = module_name(file)
    if is_within(name, "mmie.data") or name == "mmie.methods.tasks":
        return
    # mmie.methods.papers holds published scores by task
    strict = room_of(name) in {"methods", "blocks"} and name != "mmie.methods.papers"
    assert task_tests(file.read_text(encoding="utf-8"), strict) == []


@every_file
def test_code_holds_nothing_forbidden(file):
    assert code_faults(file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mmie.tags", "from mmie.data import Corpus"),
        ("mmie.types", "import mmie.tags"),
        ("mmie.blocks.crf", "import lightning.pytorch as pl"),
        ("mmie.blocks.crf", "from lightning import pytorch"),
        ("mmie.blocks.crf", "from mmie import data"),
        ("mmie.blocks.crf", "from ..data.corpora.base import Corpus"),
        ("mmie.data.corpora.base", "def f():\n    from mmie.methods.base import ExtractionModule"),
        ("mmie.metrics.modules", "from mmie.methods import RAP"),
        ("mmie.methods.rap", "from mmie.methods.hvpnet import HVPNet"),
        ("mmie.methods.rap", "from .hvpnet import HVPNet"),
        ("mmie.methods.rap", "from mmie.methods import HVPNet"),
        ("mmie.methods.rap", "from . import hvpnet"),
        ("mmie.methods.hvpnet", "from mmie.methods.rsrnet import RSRNeT"),
        ("mmie.methods.base", "from mmie.methods.rap import RAP"),
        ("mmie.methods.rap", "from mmie.data.instances import Instance"),
        ("mmie.methods.base", "if True:\n    import mmie.data.corpora.base"),
        ("mmie.training.callbacks", "from mmie.methods.rap import DynamicFusion"),
        ("mmie.reports.html", "from mmie.training.recorder import RunRecorder"),
        ("mmie.inference.extractor", "import mmie.cli"),
        ("mmie", "from mmie.methods import RAP"),
    ],
)
def test_a_forbidden_import_is_detected(module, source):
    assert layer_faults(source, module) != []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("mmie.tags", "from mmie.types import Entity"),
        ("mmie.methods.rsrnet", "from mmie.methods.hvpnet import HVPNet"),
        (
            "mmie.methods.rap",
            "from mmie.methods.multimodal import MultimodalModule\nfrom mmie.blocks.crf import CRF",
        ),
        ("mmie.training.recorder", "from mmie.data.instances import Instance"),
        ("mmie.cli", "from mmie.methods import ExtractionModule"),
        ("mmie", "from importlib.metadata import version"),
        ("mmie", "if TYPE_CHECKING:\n    from mmie.inference import Extractor"),
    ],
)
def test_an_allowed_import_is_no_fault(module, source):
    assert layer_faults(source, module) == []


@pytest.mark.parametrize(
    "source",
    [
        "if schema.task == 'ner': pass",
        "x = 're' != task",
        "x = task in ('ner', 're')",
        "match task:\n    case 're':\n        pass",
    ],
)
def test_a_test_for_a_task_is_detected(source):
    assert task_tests(source) != []


def test_a_dispatch_on_the_task_is_detected_where_names_are_forbidden():
    assert task_tests("x = {'ner': 1, 're': 2}[task]") == []
    assert task_tests("x = {'ner': 1, 're': 2}[task]", anywhere=True) == [1, 1]


@pytest.mark.parametrize(
    "source",
    [
        "x = 768",
        "try:\n    pass\nexcept:\n    pass",
        "import pickle",
        "from pickle import load",
        "import torch\ntorch.load('x')",
        "import torch\ntorch.load('x', weights_only=False)",
        "import numpy\nnumpy.load('x', allow_pickle=True)",
        "eval('1')",
        "# TO" + "DO: later",
        "from os import *",
    ],
)
def test_forbidden_code_is_detected(source):
    assert code_faults(source) != []


def test_allowed_code_is_no_fault():
    source = "import torch\nx = torch.load('x', weights_only=True)\nmodule.eval()\ny = 7680"
    assert code_faults(source) == []
