"""Notebooks run from top to bottom, show their results, and are stored with their outputs."""

import json
import re
import subprocess
import sys

import nbformat
import pytest
from helpers.paths import REPOSITORY
from nbclient import NotebookClient

from mmie.data import DemoCorpus
from mmie.runs import Run, read_run

pytestmark = pytest.mark.slow

NOTEBOOKS = REPOSITORY / "notebooks"
NAMES = ("1_train_and_compare", "2_inside_a_prediction", "3_your_own_method")
MARGIN = 0.2
"""Least F1 above the text-only bound of a method that uses images."""
CHANCE = 0.1
"""Largest F1 above the text-only bound with shuffled pictures, some of them right by chance."""
SECONDS = 900
"""Longest time for a cell, on a busy machine."""
MACHINE_PATH = r"(?<![\w.:/])/(?:home|root|Users|tmp|work|mnt)\b|[A-Z]:\\"
"""Pattern of absolute paths that exist on one machine alone."""

every_notebook = pytest.mark.parametrize("name", NAMES)


def read_notebook(name):
    """Read a notebook."""
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    """Return the cells that hold code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    """Return the outputs of all cells."""
    return [output for cell in code_cells(notebook) for output in cell.outputs]


def output_text(notebook):
    """Return all that the cells printed or displayed as text."""
    texts = []
    for output in outputs(notebook):
        texts.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return "\n".join(texts)


def kinds_of_outputs(notebook):
    """Return the kinds of the outputs of every code cell."""
    kinds = []
    for cell in code_cells(notebook):
        found = set()
        for output in cell.outputs:
            found.update(output.get("data", {}) or [output.output_type])
        kinds.append(sorted(found))
    return kinds


def count_figures(notebook):
    """Count the figures that the cells displayed."""
    return sum("image/png" in output.get("data", {}) for output in outputs(notebook))


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Function that runs a notebook in its folder.

    It returns the notebook with outputs, and the temporary folder that it has written to.
    """
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")

    def execute(name):
        before = {path.name for path in NOTEBOOKS.iterdir()}
        notebook = read_notebook(name)
        NotebookClient(
            notebook,
            timeout=SECONDS,
            kernel_name="python3",
            resources={"metadata": {"path": str(NOTEBOOKS)}},
        ).execute()
        assert {path.name for path in NOTEBOOKS.iterdir()} == before
        # `make notebooks` stores them anew after a cell has changed
        assert kinds_of_outputs(notebook) == kinds_of_outputs(read_notebook(name))
        # a command that fails does not end its cell
        assert "mmie: " not in output_text(notebook)
        (folder,) = {path.parent for path in tmp_path.glob("*/demo")}
        return notebook, folder

    return execute


def text_only_bound(folder):
    """Return the best F1 that a method can have without images."""
    return DemoCorpus(folder / "demo").bounds.score("ner")


def uses_images(run: Run, bound: float) -> bool:
    """Tell whether a run is far above the text-only bound, and not with shuffled pictures."""
    return run.scores["f1"] > bound + MARGIN and run.other_pictures["shuffled"] < bound + CHANCE


def test_every_notebook_is_tested():
    assert sorted(file.stem for file in NOTEBOOKS.glob("*.ipynb")) == list(NAMES)


@every_notebook
def test_outputs_are_those_of_one_run_from_top_to_bottom(name):
    notebook = read_notebook(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        assert dict(cell.metadata) == {}
        assert "error" not in {output.output_type for output in cell.outputs}
    assert "mmie: " not in output_text(notebook)
    assert not re.search(MACHINE_PATH, output_text(notebook))
    for output in outputs(notebook):
        assert "\x1b" not in output.get("text", "")  # colours and redrawn progress bars


@every_notebook
def test_notebooks_are_short_and_hold_no_path_of_one_machine(name):
    notebook = read_notebook(name)
    assert len(notebook.cells) < 30
    for cell in notebook.cells:
        assert not re.search(MACHINE_PATH, cell.source)
        assert cell.source.count("\n") < 40


@every_notebook
def test_links_between_notebooks_have_a_target(name):
    text = "\n".join(cell.source for cell in read_notebook(name).cells)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        assert (NOTEBOOKS / target).exists(), target


def test_train_and_compare(execute):
    notebook, folder = execute("1_train_and_compare")
    bound = text_only_bound(folder)
    assert read_run(folder / "runs" / "demo_text_only").scores["f1"] < bound + 0.05
    assert uses_images(read_run(folder / "runs" / "demo_hvpnet"), bound)
    assert (folder / "comparison").is_dir()
    assert count_figures(notebook) == 2


def test_inside_a_prediction(execute):
    notebook, folder = execute("2_inside_a_prediction")
    assert count_figures(notebook) == 3
    assert "HVPNet" in (folder / "diagnosis.html").read_text(encoding="utf-8")
    row = re.compile(r"^(picture|both|noise)\s+\d+\s+\d+%\s+(-?[\d.]+)$", re.MULTILINE)
    support = {name: float(value) for name, value in row.findall(output_text(notebook))}
    assert support["picture"] > 10 * max(abs(support["both"]), abs(support["noise"]))


def test_your_own_method(execute):
    notebook, folder = execute("3_your_own_method")
    run = read_run(folder / "runs" / "gated_picture")
    assert uses_images(run, text_only_bound(folder))
    assert f"{run.scores['f1']:.3f}" in output_text(notebook)


def test_the_method_of_a_notebook_is_short_and_passes_ruff():
    """ruff ignores a cell that starts with a magic."""
    sources = [cell.source for cell in code_cells(read_notebook("3_your_own_method"))]
    magic = "%%writefile gated_picture.py\n"
    (source,) = [source for source in sources if source.startswith(magic)]
    method = source.removeprefix(magic) + "\n"
    assert method.count("\n") <= 40
    for check in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--stdin-filename=gated_picture.py", "-"]
        assert subprocess.run(command, input=method, text=True, cwd=REPOSITORY).returncode == 0


@every_notebook
def test_files_are_written_as_nbformat_writes_them(name):
    """Saving one then changes only the lines of changed cells."""
    text = (NOTEBOOKS / f"{name}.ipynb").read_text(encoding="utf-8")
    expected = json.dumps(json.loads(text), indent=1, ensure_ascii=False, sort_keys=True)
    assert text == expected + "\n"
