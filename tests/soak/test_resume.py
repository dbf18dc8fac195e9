"""A fit that is killed or stopped at any moment continues to the result of an undisturbed one."""

import json
import random
import shutil
import signal
import time

import pytest
import torch
from helpers.command import run, tiny_options
from helpers.fits import (
    check_success,
    fit_result,
    fork_command,
    run_in_fork,
    wait_for_exit,
    wait_for_file,
)
from helpers.kills import kill_at_change, log_changes

pytestmark = pytest.mark.slow

SETTINGS = ["--trainer.max_epochs=3", "--trainer.log_every_n_steps=2", "--data.train_fraction=0.25"]


class Fits:
    """Fits of one configuration, each with its own run folder and feature cache.

    Args:
        corpus: Folder of the corpus.
        folder: Folder of the fits. An undisturbed one is run here.
    """

    def __init__(self, corpus, folder):
        self.corpus = corpus
        self.folder = folder
        log = folder / "changes"
        start = time.monotonic()
        process = fork_command(
            "fit",
            *self.options("undisturbed"),
            prepare=log_changes(log, *self.folders("undisturbed")),
        )
        check_success(process)
        self.seconds = time.monotonic() - start
        self.changes = log.read_text().splitlines()
        self.expected = fit_result(folder / "undisturbed")

    def folders(self, name):
        """Return the run folder and the cache of a fit."""
        return self.folder / name, self.folder / f"{name}_cache"

    def options(self, name, *extra):
        """Return the options of a fit."""
        run_dir, cache = self.folders(name)
        options = tiny_options("rap", self.corpus, run_dir)
        return [*options, *SETTINGS, f"--feature_store={cache}", *extra]

    def start_or_continue(self, name, *extra):
        """Return the arguments that a user gives at first and after an interruption."""
        has_checkpoint = (self.folder / name / "last.ckpt").exists()
        continued = ["--ckpt_path=last"] if has_checkpoint else []
        return ["fit", *self.options(name, *extra), *continued]

    def check_files(self, name):
        """Check that the checkpoints and scores of an interrupted fit are whole."""
        for file in self.folder.glob(f"{name}/[!.]*.ckpt"):
            torch.load(file, weights_only=True)
        for file in self.folder.glob(f"{name}/[!.]*.json"):
            json.loads(file.read_text())

    def check_result(self, name):
        """Check that a fit has the result of the undisturbed one, and remove its folders."""
        assert fit_result(self.folder / name) == self.expected
        assert [file.name for file in self.folder.glob(f"{name}/.*")] == []
        for folder in self.folders(name):
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def fits(demo_root, tmp_path_factory):
    return Fits(demo_root, tmp_path_factory.mktemp("fits"))


def test_a_fit_killed_at_random_moments_continues_to_the_same_result(fits, rounds):
    # some fits are killed once, others three times
    for number in range(rounds(1, 20)):
        draw = random.Random(number)
        name = f"killed_{number}"
        for _ in range(draw.choice([1, 1, 3])):
            process = fork_command(*fits.start_or_continue(name))
            time.sleep(draw.uniform(0.1, 0.9) * fits.seconds)
            process.kill()
            assert wait_for_exit(process) in (0, -signal.SIGKILL)
            fits.check_files(name)
        run_in_fork(*fits.start_or_continue(name))
        fits.check_result(name)


def test_a_fit_killed_while_it_writes_continues_to_the_same_result(fits, rounds):
    # the file may be a checkpoint, scores, the log, the configuration, or one of the cache
    for number in range(rounds(1, 40)):
        draw = random.Random(number)
        name = f"writing_{number}"
        change = draw.randrange(len(fits.changes))
        delay = draw.choice([0, draw.uniform(0, 0.01)])
        kill = kill_at_change(change + 1, delay, *fits.folders(name))
        process = fork_command(*fits.start_or_continue(name), prepare=kill)
        assert wait_for_exit(process) in (0, -signal.SIGKILL), fits.changes[change]
        fits.check_files(name)
        run_in_fork(*fits.start_or_continue(name))
        fits.check_result(name)


def test_a_fit_killed_before_a_checkpoint_is_renamed_has_the_earlier_one(fits):
    renames = []
    for index, line in enumerate(fits.changes):
        if "rename" in line and "last.ckpt" in line:
            renames.append(index)
    assert len(renames) == 3
    name = "between"
    kill = kill_at_change(renames[1] + 1, 0, *fits.folders(name))
    process = fork_command(*fits.start_or_continue(name), prepare=kill)
    assert wait_for_exit(process) == -signal.SIGKILL
    assert len(list((fits.folder / name).glob(".*.ckpt"))) == 1
    assert torch.load(fits.folder / name / "last.ckpt", weights_only=True)["epoch"] == 0
    run_in_fork(*fits.start_or_continue(name))
    fits.check_result(name)


def test_a_fit_stopped_by_sigterm_fails_and_names_how_to_continue(fits, rounds):
    for number in range(rounds(1, 10)):
        name = f"stopped_{number}"
        last = fits.folder / name / "last.ckpt"
        process = fork_command(*fits.start_or_continue(name))
        wait_for_file(last, [process])
        time.sleep(random.Random(number).uniform(0, fits.seconds / 3))
        process.terminate()
        status = wait_for_exit(process)
        if status != 0:  # otherwise the fit had ended before the signal
            assert status == 1
            assert f"mmie: ended by SIGTERM; --ckpt_path {last} continues it" in process.err
        run_in_fork(*fits.start_or_continue(name))
        fits.check_result(name)


def test_a_fit_continues_with_workers_to_the_same_result(fits):
    process = fork_command(*fits.start_or_continue("workers"))
    wait_for_file(fits.folder / "workers" / "last.ckpt", [process])
    process.kill()
    wait_for_exit(process)
    run_in_fork(*fits.start_or_continue("workers", "--data.num_workers=2"))
    fits.check_result("workers")


def test_a_fit_without_a_checkpoint_cannot_be_continued(fits):
    outcome = run("fit", *fits.options("none"), "--ckpt_path=last")
    assert outcome.status == 1
    assert f"{fits.folder / 'none' / 'last.ckpt'} does not exist" in outcome.err
    assert "fit without --ckpt_path" in outcome.err


def test_a_run_that_is_to_be_overwritten_is_unchanged_until_training_starts(fits):
    run_in_fork("fit", *fits.options("old"))
    run_dir, cache = fits.folders("old")
    before = {file.name: file.read_bytes() for file in run_dir.glob("[!.]*")}
    shutil.rmtree(cache)
    options = fits.options("old", "--overwrite=true", "--seed_everything=7")
    process = fork_command("fit", *options, prepare=kill_at_change(3, 0, cache))
    assert wait_for_exit(process) == -signal.SIGKILL
    # beside them lies the lock of the killed process
    assert {file.name: file.read_bytes() for file in run_dir.glob("[!.]*")} == before
