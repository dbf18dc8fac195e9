"""A run folder with W&B runs, which tests of the logger and of the dashboard share."""

import warnings
from pathlib import Path

import pytest
import wandb
from helpers.command import succeed, tiny_options


@pytest.fixture(scope="session")
def _own_wandb_folders(tmp_path_factory):
    """Keep W&B away from the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATA", "CACHE", "CONFIG"):
            patch.setenv(f"WANDB_{name}_DIR", str(tmp_path_factory.mktemp(name)))
        yield


@pytest.fixture(scope="session")
def wandb_run_dir(_own_wandb_folders, demo_root, tmp_path_factory) -> Path:
    """Run folder of a fit, a test, and a test with shuffled pictures, which must not be changed."""
    run_dir = tmp_path_factory.mktemp("runs") / "mine"
    options = [*tiny_options("hvpnet", demo_root, run_dir), "--wandb.tags=[night]"]
    shuffled = ["--data.pictures=shuffled", "--seed_everything=7"]
    for command in (["fit"], ["test"], ["test", *shuffled]):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "W&B")
            succeed(*command, *options)
        assert wandb.run is None
    return run_dir
