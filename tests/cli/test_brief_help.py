"""Short help of the commands that run a configuration."""

import pytest
from helpers.command import run, succeed

from mmie.cli.main import describe_version


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_the_help_is_short_and_has_the_packages_options_first(command):
    text = succeed(command, "--help").out
    lines = text.splitlines()
    assert len(lines) < 90
    assert max(map(len, lines)) <= 100
    assert text.index("--run_dir") < text.index("--data.batch_size") < text.index("--trainer.")
    assert "Twitter2017" in text
    assert "RAP" in text
    assert f"mmie {command} --help all" in text


def test_all_options_are_listed_on_request():
    text = succeed("fit", "--help", "all").out
    assert len(text.splitlines()) > 300
    assert "--trainer.reload_dataloaders_every_n_epochs" in text


def test_the_version_is_printed():
    outcome = run("--version")
    assert (outcome.status, outcome.out) == (0, f"{describe_version()}\n")
    assert outcome.out.startswith("mmie 0.")
    assert "lightning 2." in outcome.out
