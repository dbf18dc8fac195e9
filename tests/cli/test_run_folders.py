"""Run folders on command lines, and the options that they stand for."""

import pytest

from mmie.cli.parsing import UsageError
from mmie.cli.run_folders import (
    expand_benchmarked_run,
    expand_scored_run,
    split_run,
)
from mmie.runs.folder import RunFolderError


@pytest.fixture
def run_dir(tmp_path):
    """Run folder with an empty configuration and an empty best checkpoint."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.yaml", "best.ckpt"):
        (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("line", "run", "others"),
    [
        ("", None, ""),
        ("r", "r", ""),
        ("r --a=1 --b 2", "r", "--a=1 --b 2"),
        ("--a=1 r --b 2", "r", "--a=1 --b 2"),
        ("--b 2 r", "r", "--b 2"),
        ("--b -1 r", "r", "--b -1"),
        ("-c r", None, "-c r"),
        ("--overwrite r", "r", "--overwrite"),
        ("--print_config r", "r", "--print_config"),
        ("--b", None, "--b"),
    ],
)
def test_the_run_folder_is_neither_option_nor_value(line, run, others):
    assert split_run(line.split(), ["--overwrite"]) == (run, others.split())


def test_several_run_folders_are_refused():
    with pytest.raises(UsageError, match="expected one run folder, found a and b"):
        split_run(["a", "--c=1", "b"])


def test_a_run_folder_stands_for_its_options_which_others_follow(run_dir):
    own = [f"--config={run_dir / 'config.yaml'}", f"--run_dir={run_dir}"]
    best = f"--ckpt_path={run_dir / 'best.ckpt'}"
    shuffled = ["--data.pictures", "shuffled"]
    assert expand_scored_run([*shuffled, str(run_dir)]) == [*own, best, *shuffled]
    (run_dir / "best.ckpt").unlink()
    with pytest.raises(RunFolderError, match=r"best\.ckpt does not exist: .*--ckpt_path"):
        expand_scored_run([str(run_dir)])
    for other in (["--ckpt_path", "last"], ["--ckpt_path=last"]):
        assert expand_scored_run([str(run_dir), *other]) == [*own, *other]


@pytest.mark.parametrize("expand", [expand_benchmarked_run, expand_scored_run])
def test_a_line_without_a_run_folder_stays(expand):
    assert expand(["--config", "a.yaml"]) == ["--config", "a.yaml"]


def test_a_benchmark_needs_the_configuration_alone(run_dir):
    (run_dir / "best.ckpt").unlink()
    config = f"--config={run_dir / 'config.yaml'}"
    assert expand_benchmarked_run([str(run_dir), "--a=1"]) == [config, "--a=1"]


@pytest.mark.parametrize("expand", [expand_benchmarked_run, expand_scored_run])
def test_what_is_missing_is_said(run_dir, expand):
    with pytest.raises(UsageError, match=r"best\.ckpt is a file: expected a run folder"):
        expand([str(run_dir / "best.ckpt")])
    (run_dir / "config.yaml").unlink()
    with pytest.raises(RunFolderError, match=r"run holds no config\.yaml: expected a run folder"):
        expand([str(run_dir)])
    with pytest.raises(RunFolderError, match=r"there is no folder .*absent"):
        expand([str(run_dir / "absent")])
