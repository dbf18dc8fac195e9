"""``--threads``: its values, and what it sets before torch is imported."""

import os

import pytest
from helpers.command import check_refused, run, succeed

from mmie.cli.main import COMMANDS, command_computes
from mmie.cli.options import all_command_options
from mmie.cli.threads import FLAG, SPIN_COUNT, SPINS, set_variables, split_threads
from mmie.cli.usage import UsageError
from mmie.utils.processes import THREADS


@pytest.mark.parametrize(
    "line", [["--threads", "3"], ["--threads=3"], ["--threads=1", "--threads=3"]]
)
def test_the_option_is_separated_from_the_others(line):
    others = ["posts.jsonl", "--ner", "runs/x"]
    assert split_threads([*others, *line]) == (3, others)
    assert split_threads([*line, *others]) == (3, others)


def test_auto_names_no_number():
    assert split_threads(["--threads=auto"]) == split_threads([]) == (None, [])


@pytest.mark.parametrize("value", ["", "0", "-1", "two", "1.5", "²"])
def test_other_values_are_refused(value):
    with pytest.raises(UsageError, match="--threads: expected auto or a positive whole number"):
        split_threads([f"--threads={value}"])


def test_a_missing_value_is_refused_in_one_line():
    check_refused(run("extract", "posts.jsonl", "--threads"), "--threads", "found no value")


@pytest.mark.parametrize(
    ("given", "threads", "expected"),
    [
        ({}, None, {SPIN_COUNT: SPINS}),
        ({}, 2, {SPIN_COUNT: SPINS, "OMP_NUM_THREADS": "2"}),
        ({"OMP_NUM_THREADS": "4"}, None, {SPIN_COUNT: SPINS, "OMP_NUM_THREADS": "4"}),
        ({"OMP_NUM_THREADS": "4"}, 2, {SPIN_COUNT: SPINS, "OMP_NUM_THREADS": "2"}),
        ({SPIN_COUNT: "7"}, None, {SPIN_COUNT: "7"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, None, {"OMP_WAIT_POLICY": "ACTIVE"}),
    ],
)
def test_what_the_user_has_set_is_kept_unless_the_option_names_another(given, threads, expected):
    environment = dict(given)
    set_variables(environment, threads)
    assert environment == expected


def test_the_commands_that_compute_list_it():
    table = all_command_options()
    listing = set()
    for name, options in table.items():
        if FLAG in options.by_flag:
            listing.add(name)
            assert command_computes(*split_name(name))
            assert not options.help or FLAG in options.help
    computing = {name for name, command in COMMANDS.items() if command.computes}
    assert {name.split()[0] for name in listing} == computing | {"corpus"}
    assert {"fit", "extract", "study ablations", "corpus features", "benchmark"} <= listing
    assert not {"corpus stats", "ground convert", "compare", "convert"} & listing


def split_name(name):
    """Divide the name of a command into that of the command and its first options."""
    command, *subcommand = name.split()
    return command, subcommand


def test_a_command_that_does_not_compute_refuses_it():
    check_refused(run("compare", "runs", "--threads=1"), "no option --threads")
    check_refused(run("ground", "convert", "a.pth", "b.jsonl", "--threads=1"), "--threads")


def test_it_stands_beside_the_options_of_lightning_cli(monkeypatch):
    monkeypatch.setenv(THREADS, "1")
    monkeypatch.setenv(SPIN_COUNT, "")
    outcome = succeed("fit", "--config=demo_rap", "--threads", "2", "--print_config")
    assert os.environ[THREADS] == "2"
    assert os.environ[SPIN_COUNT] == SPINS
    assert "threads" not in outcome.out, "the configuration of a run does not hold it"
