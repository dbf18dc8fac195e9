"""The tours in `notebooks/` run from top to bottom, show what they say, and lie in the repository without output."""

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

NOTEBOOKS = REPOSITORY / "notebooks"
NAMES = ("1_train_and_compare", "2_inside_a_prediction", "3_your_own_method")
MARGIN = 0.2
"""F1 above the text-only bound that only a method which reads the picture has."""
SECONDS = 900
"""Most that a cell may take, on a machine that is busy with other tests."""

LUCK = 0.1
"""F1 that shuffled pictures may add on so few posts."""

every_notebook = pytest.mark.parametrize("name", NAMES)


def read(name):
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def said(notebook):
    """All that the cells printed or showed as text."""
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    return "\n".join(
        output.get("text") or output.get("data", {}).get("text/plain", "") for output in outputs
    )


def figures(notebook):
    return sum(
        "image/png" in output.get("data", {})
        for cell in code_cells(notebook)
        for output in cell.outputs
    )


@pytest.fixture
def execute(tmp_path, monkeypatch):
    """Runs a notebook where it lies; gives what came of it, and the temporary folder that it wrote to."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")

    def execute(name):
        before = {path.name for path in NOTEBOOKS.iterdir()}
        notebook = read(name)
        place = {"metadata": {"path": str(NOTEBOOKS)}}
        NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=place).execute()
        assert {path.name for path in NOTEBOOKS.iterdir()} == before
        assert "mmie: " not in said(notebook)  # a command that failed, which ends no cell
        (folder,) = {path.parent for path in tmp_path.glob("*/demo")}
        return notebook, folder

    return execute


def scores_of(folder, run):
    """The text-only bound, and a run."""
    return DemoCorpus(folder / "demo").bounds.score("ner"), read_run(folder / "runs" / run)


def reads_pictures(run: Run, bound: float) -> bool:
    """Far above what the words alone can reach; with the pictures of others hardly, some being right by luck."""
    return run.scores["f1"] > bound + MARGIN and run.other_pictures["shuffled"] < bound + LUCK


def test_every_notebook_is_tested():
    assert sorted(file.stem for file in NOTEBOOKS.glob("*.ipynb")) == list(NAMES)


@every_notebook
def test_outputs_are_cleared(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    for cell in code_cells(notebook):
        assert (cell.outputs, cell.execution_count, dict(cell.metadata)) == ([], None, {})


@every_notebook
def test_notebooks_are_thin_and_name_no_place_of_one_machine(name):
    notebook = read(name)
    assert len(notebook.cells) < 30
    for cell in notebook.cells:
        assert not re.search(
            r"(?<![\w.:/])/(?:home|root|Users|tmp|work|mnt)\b|[A-Z]:\\", cell.source
        )
        assert cell.source.count("\n") < 40


@every_notebook
def test_links_between_notebooks_lead_somewhere(name):
    text = "\n".join(cell.source for cell in read(name).cells)
    for target in re.findall(r"\]\((?!https?:)([^)]+)\)", text):
        assert (NOTEBOOKS / target).exists(), target


def test_train_and_compare(execute):
    notebook, folder = execute("1_train_and_compare")
    bound, text_only = scores_of(folder, "demo_text_only")
    assert text_only.scores["f1"] < bound + 0.05
    assert reads_pictures(read_run(folder / "runs" / "demo_hvpnet"), bound)
    assert (folder / "comparison").is_dir()
    assert figures(notebook) == 2


def test_inside_a_prediction(execute):
    notebook, folder = execute("2_inside_a_prediction")
    assert figures(notebook) == 3
    assert "HVPNet" in (folder / "diagnosis.html").read_text(encoding="utf-8")
    rows = dict(
        re.findall(
            r"^(picture|both|noise)\s+\d+\s+\d+%\s+(-?[\d.]+)$", said(notebook), re.MULTILINE
        )
    )
    assert float(rows["picture"]) > 10 * max(abs(float(rows["both"])), abs(float(rows["noise"])))


def test_your_own_method(execute):
    notebook, folder = execute("3_your_own_method")
    bound, run = scores_of(folder, "gated_picture")
    assert reads_pictures(run, bound)
    assert f"{run.scores['f1']:.3f}" in said(notebook)


def test_the_method_of_ones_own_is_short_and_clean():
    """ruff passes over a cell that starts with a magic."""
    (cell,) = (
        cell
        for cell in code_cells(read(NAMES[2]))
        if cell.source.startswith("%%writefile gated_picture.py")
    )
    source = cell.source.partition("\n")[2] + "\n"
    assert source.count("\n") <= 40
    for check in (["check"], ["format", "--check"]):
        command = [
            sys.executable,
            "-m",
            "ruff",
            *check,
            "--stdin-filename",
            "gated_picture.py",
            "-",
        ]
        assert subprocess.run(command, input=source, text=True, cwd=REPOSITORY).returncode == 0


@every_notebook
def test_files_are_written_as_nbformat_writes_them(name):
    """So that saving one does not change all of its lines."""
    file = NOTEBOOKS / f"{name}.ipynb"
    text = file.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False, sort_keys=True) + "\n"
