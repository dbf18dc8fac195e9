"""The table of rooms, and rules that hold for every file of the package, enforced by reading the source."""

import ast
import re
from collections.abc import Iterator
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
    "tasks",
)
METHOD_FILES = {file.stem for file in (PACKAGE / "methods").glob("[!_]*.py")} - set(METHOD_SUPPORT)
PARENTS = {"rsrnet": ["hvpnet"], "mlnet_pretraining": ["mlnet"]}
"""Methods that are subclasses of another."""


def read_table(text: str) -> dict[str, set[str]]:
    """Rooms in the order of the table in CONTRIBUTING.md, each with the modules that it may not import."""
    rows = re.findall(r"^\| `mmie/(\w+)(?:\.py|/)` \|[^|]*\|([^|]*)\|$", text, re.MULTILINE)
    return {room: set(re.findall(r"`([\w.]+)`", barred)) for room, barred in rows}


BARRED = read_table((REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8"))
BARRED["training"] |= {f"mmie.methods.{method}" for method in METHOD_FILES}
ROOMS = tuple(BARRED)
TASKS = {"ner", "re"}
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def room_of(module: str) -> str | None:
    """The room of a module of the package; None for the package itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def imports(source: str, module: str, is_package: bool = False) -> Iterator[str]:
    """Full names of all that a module imports, at whatever depth: modules, and what is taken from them."""
    base = module.split(".") if is_package else module.split(".")[:-1]
    tree = ast.parse(source)
    if (
        room_of(module) is None
    ):  # the package gives names of its rooms, and imports them when they are asked for
        tree.body = [node for node in tree.body if not _is_for_types(node)]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = base[: len(base) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{origin}.{alias.name}" for alias in node.names)


def _is_for_types(node: ast.AST) -> bool:
    """Whether this runs for type checkers alone."""
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def method_imports(own: str) -> list[list[str]]:
    """Modules of the room of methods that a file there may import: what all share, and its parent."""
    return [[name] for name in (*METHOD_SUPPORT, *PARENTS.get(own, ()))]


def layer_faults(source: str, module: str, is_package: bool = False) -> list[str]:
    """Imports that the table of rooms forbids."""
    room, names = room_of(module), sorted(set(imports(source, module, is_package)))
    own = module.rpartition(".")[2]
    faults = []
    for name in names:
        theirs = room_of(name) if within(name, "mmie") else None
        if room is None and within(name, "mmie"):
            faults.append(name)
        if room is not None and theirs in ROOMS and ROOMS.index(theirs) > ROOMS.index(room):
            faults.append(name)
        if any(within(name, barred) for barred in BARRED.get(room, ())):
            faults.append(name)
        if (
            room == theirs == "methods"
            and own != "methods"
            and name.split(".")[2:3] not in method_imports(own)
        ):
            faults.append(name)
    return faults


def constants(node: ast.AST) -> set[object]:
    """Constants directly in an expression, or in a display that is one."""
    members = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return {member.value for member in members if isinstance(member, ast.Constant)}


def task_tests(source: str, anywhere: bool = False) -> list[int]:
    """Lines that compare something with a task's name; with ``anywhere``, lines that so much as name one."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Compare):
            found = set().union(*(constants(part) for part in (node.left, *node.comparators)))
        elif isinstance(node, ast.MatchValue):
            found = constants(node.value)
        elif anywhere and isinstance(node, ast.Constant):
            found = {node.value}
        else:
            continue
        if TASKS & {value for value in found if isinstance(value, str)}:
            lines.append(node.lineno)
    return lines


def code_faults(source: str) -> list[str]:
    """What no file may hold."""
    faults = [f"{number}: {word}" for number, word in _unfinished(source)]
    for node in ast.walk(ast.parse(source)):
        where = f"{getattr(node, 'lineno', 0)}: "
        if isinstance(node, ast.Constant) and type(node.value) is int and node.value == 768:
            faults.append(where + "literal 768")
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            faults.append(where + "bare except")
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = (
                [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else [alias.name for alias in node.names]
            )
            faults += [where + name for name in names if name.split(".")[0] in UNPICKLERS]
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names):
                faults.append(where + "import *")
        if isinstance(node, ast.Call):
            faults += [where + fault for fault in _unsafe_call(node)]
    return faults


def _unfinished(source: str) -> Iterator[tuple[int, str]]:
    """Marks of what is left to do."""
    for number, line in enumerate(source.splitlines(), 1):
        yield from ((number, mark) for mark in re.findall(r"\b(?:TODO|FIXME|XXX)\b", line))


def _unsafe_call(node: ast.Call) -> Iterator[str]:
    """A call that may run what a file says."""
    name = ast.unparse(node.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if name in {"eval", "exec"}:
        yield name
    if name == "torch.load" and given.get("weights_only") != "True":
        yield "torch.load without weights_only=True"
    if given.get("allow_pickle", "False") != "False":
        yield "allow_pickle"


def name_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


FILES = sorted(PACKAGE.rglob("*.py"))
every_file = pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))


def test_every_room_is_in_the_table():
    modules = [
        path
        for path in PACKAGE.iterdir()
        if path.suffix == ".py" or (path / "__init__.py").exists()
    ]
    found = {path.stem for path in modules}
    assert found - {"__init__"} == set(ROOMS)


@every_file
def test_imports_only_from_rooms_above(file):
    assert (
        layer_faults(file.read_text(encoding="utf-8"), name_of(file), file.stem == "__init__") == []
    )


@every_file
def test_no_task_is_tested_for_outside_the_two_places(file):
    name = name_of(file)
    if within(name, "mmie.data") or name == "mmie.methods.tasks":
        return
    strict = (
        room_of(name) in {"methods", "blocks"} and name != "mmie.methods.papers"
    )  # which says what was reported
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
def test_a_wrong_import_is_found(module, source):
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
def test_a_right_import_is_let_through(module, source):
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
def test_a_test_for_a_task_is_found(source):
    assert task_tests(source) != []


def test_a_dispatch_on_the_task_is_found_where_none_may_be():
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
def test_forbidden_code_is_found(source):
    assert code_faults(source) != []


def test_decent_code_is_let_through():
    assert (
        code_faults("import torch\nx = torch.load('x', weights_only=True)\nmodule.eval()\ny = 7680")
        == []
    )
