"""A method of one's own, that of the third notebook, as a module in a folder or as a plugin."""

import json
from pathlib import Path

from helpers.paths import REPOSITORY

METHOD = "gated_picture"
"""Name of the module."""
_NOTEBOOK = REPOSITORY / "notebooks" / "3_your_own_method.ipynb"


def read_cell(file: str) -> str:
    """Return what a cell of the notebook writes to a file."""
    for cell in json.loads(_NOTEBOOK.read_text(encoding="utf-8"))["cells"]:
        magic, _, content = "".join(cell["source"]).partition("\n")
        if magic == f"%%writefile {file}":
            return f"{content}\n"
    raise LookupError(f"no cell writes {file}")


def write_method(folder: Path, module: str = METHOD) -> Path:
    """Write the method as a module to a folder."""
    file = folder / f"{module}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(read_cell(f"{METHOD}.py"), encoding="utf-8")
    return file


def write_plugin(folder: Path, module: str, source: str) -> None:
    """Write a package with a plugin to a folder of installed packages, as pip leaves it.

    Args:
        folder: The folder.
        module: Name of the module, of the package and of its entry point.
        source: Code of the module.
    """
    information = folder / f"{module}-1.0.dist-info"
    information.mkdir(parents=True)
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    metadata = f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n"
    (information / "METADATA").write_text(metadata, encoding="utf-8")
    entry_point = f"[mmie.plugins]\n{module} = {module}\n"
    (information / "entry_points.txt").write_text(entry_point, encoding="utf-8")
