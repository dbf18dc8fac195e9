"""The `mmie` command: its overview, unknown commands, and tracebacks for debugging."""

import pytest
from helpers.command import check_refused, run, succeed, tiny_options

from mmie.cli.main import COMMANDS


@pytest.mark.parametrize(("arguments", "status"), [([], 2), (["--help"], 0), (["-h"], 0)])
def test_the_overview_lists_all_commands(arguments, status):
    outcome = run(*arguments)
    assert outcome.status == status
    purposes = {}
    for line in outcome.out.splitlines():
        if line.startswith("  "):
            name, *purpose = line.split()
            purposes[name] = purpose
    assert set(purposes) == set(COMMANDS) >= {"fit", "validate", "test", "predict", "corpus"}
    assert all(len(purpose) > 2 for purpose in purposes.values())
    assert outcome.err == ""


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_every_command_explains_its_options(command):
    text = succeed(command, "--help").out
    for option in (
        "--run_dir",
        "--data.batch_size",
        "--trainer.max_epochs",
        "--model",
        "--config",
        "--ckpt_path",
    ):
        assert option in text


def test_an_unknown_command_is_refused_with_a_list_of_all():
    check_refused(run("fitt"), "fitt", "fit", "corpus")
    check_refused(run("corpus", "nope"), "nope", "stats")
    check_refused(run("corpus"), "stats")


def test_debugging_shows_the_traceback(demo_root, tmp_path, monkeypatch):
    monkeypatch.setenv("MMIE_DEBUG", "1")
    options = tiny_options("text_only", demo_root, tmp_path / "run")
    for wrong in (
        "--data.batch_size=many",
        "--data.max_tokens=4096",
        "--data.corpus.root=/nowhere",
    ):
        with pytest.raises(Exception, match=r"many|4096|nowhere") as caught:
            run("fit", *options, wrong)
        assert caught.type is not SystemExit
