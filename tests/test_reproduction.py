"""The page of tables and figures: every command on it parses, and every number has its row."""

import re
import shlex

import pytest
from helpers.command import run
from helpers.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "background" / "reproduction.md"
COMMANDS = sorted(set(re.findall(r"`(mmie \w+ -*[^`]+)`", PAGE.read_text(encoding="utf-8"))))
STUDIES = [command for command in COMMANDS if re.match(r"mmie study \S+ configs/", command)]
FITS = [command for command in COMMANDS if command.startswith("mmie fit")]
FILES = sorted(set(re.findall(r"configs/[\w/]+\.yaml", PAGE.read_text(encoding="utf-8"))))
TABLES = {"RAP": 6, "MLNet": 4, "DGHC": 6, "IMM": 3, "RSRNeT": 5}
FIGURES = {"RAP": 9, "MLNet": 5, "DGHC": 2, "IMM": 4, "RSRNeT": 5}


def sections():
    """Return the text of each paper's section by its method."""
    parts = re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {part.split()[0]: part for part in parts}


def listed_numbers(text, kind):
    """Return the numbers of all tables or figures that rows of a section begin with."""
    numbers = set()
    pattern = rf"^\| {kind}s? (\d+)(?: (to|and) (\d+))?"
    for first, word, last in re.findall(pattern, text, re.MULTILINE):
        ends = (int(first), int(last or first))
        numbers.update(range(ends[0], ends[1] + 1) if word == "to" else ends)
    return numbers


@pytest.mark.parametrize("method", TABLES)
def test_every_table_and_figure_has_a_row(method):
    text = sections()[method]
    assert listed_numbers(text, "Table") == set(range(1, TABLES[method] + 1))
    assert listed_numbers(text, "Figure") == set(range(1, FIGURES[method] + 1))


def test_every_file_exists():
    assert [name for name in FILES if not (REPOSITORY / name).is_file()] == []


@pytest.mark.parametrize("command", STUDIES)
def test_studies_plan_their_runs(monkeypatch, command):
    monkeypatch.chdir(REPOSITORY)
    outcome = run(*shlex.split(command)[1:], "--seeds=1", "--dry-run")
    assert outcome.status == 0, outcome.err
    assert outcome.out.startswith("mmie fit --config=")


@pytest.mark.parametrize("command", FITS)
def test_fits_parse(monkeypatch, command):
    monkeypatch.chdir(REPOSITORY)
    outcome = run(*shlex.split(command)[1:], "--print_config")
    assert outcome.status == 0, outcome.err


@pytest.mark.parametrize(
    "command", [line for line in COMMANDS if line not in (*STUDIES, *FITS) and "--" in line]
)
def test_other_commands_fail_at_their_data_alone(monkeypatch, tmp_path, command):
    """Corpora, checkpoints and run folders are missing, so that no option may be at fault."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").symlink_to(REPOSITORY / "configs")
    line = shlex.split(command)[1:]
    if line[0] == "sweep":
        line += ["--slurm", "array.sh"]
    outcome = run(*line)
    if line[0] == "sweep":
        assert outcome.status == 0, outcome.err
    else:
        assert outcome.status != 0
        assert re.search(r"data/|runs/|no such|no checkpoint", outcome.err), outcome.err
        assert not re.search(r"unknown key|not accepted|unrecognized", outcome.err)
