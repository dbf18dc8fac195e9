"""A fit that is killed or stopped, whenever that is, goes on to the very result of one that was left alone."""

import json
import random
import shutil
import signal
import time

import pytest
import torch
from helpers.command import run, tiny_options
from helpers.fits import (
    fit_result,
    fork_command,
    kill_at_change,
    log_changes,
    run_in_fork,
    wait_for_exit,
    wait_for_file,
)

SETTINGS = ["--trainer.max_epochs=3", "--trainer.log_every_n_steps=2", "--data.train_fraction=0.25"]


class Fits:
    """Fits of one configuration, each into a folder and from a store of its own."""

    def __init__(self, corpus, folder):
        self.corpus, self.folder = corpus, folder
        started = time.monotonic()
        process = fork_command(
            "fit",
            *self.options("alone"),
            prepare=log_changes(folder / "changes", *self.places("alone")),
        )
        assert wait_for_exit(process) == 0
        self.seconds = time.monotonic() - started
        self.changes = (folder / "changes").read_text().splitlines()
        self.alone = fit_result(folder / "alone")

    def places(self, name):
        """Run folder and store of a fit."""
        return self.folder / name, self.folder / f"{name}_store"

    def options(self, name, *extra):
        """The line of a fit, without ``fit``."""
        run_dir, store = self.places(name)
        return [
            *tiny_options("rap", self.corpus, run_dir),
            *SETTINGS,
            f"--feature_store={store}",
            *extra,
        ]

    def go_on(self, name, *extra):
        """The line that a user gives after an interruption."""
        going_on = ["--ckpt_path=last"] if (self.folder / name / "last.ckpt").exists() else []
        return ["fit", *self.options(name, *extra), *going_on]

    def check(self, name):
        """What is there after an interruption is whole."""
        for file in self.folder.glob(f"{name}/[!.]*.ckpt"):
            torch.load(file, weights_only=True)
        for file in self.folder.glob(f"{name}/[!.]*.json"):
            json.loads(file.read_text())

    def ended_as_if_left_alone(self, name):
        """The outcome is that of the undisturbed fit, and nothing half written is left."""
        assert fit_result(self.folder / name) == self.alone
        assert [file.name for file in self.folder.glob(f"{name}/.*")] == []
        for place in self.places(name):
            shutil.rmtree(place)


@pytest.fixture(scope="module")
def fits(demo_root, tmp_path_factory):
    return Fits(demo_root, tmp_path_factory.mktemp("fits"))


def test_killed_at_random_moments_it_goes_on_to_the_same_end(fits, rounds):
    """Once, or again and again."""
    for number in range(rounds(1, 20)):
        draw = random.Random(number)
        name = f"killed_{number}"
        for _ in range(draw.choice([1, 1, 3])):
            process = fork_command(*fits.go_on(name))
            time.sleep(draw.uniform(0.1, 0.9) * fits.seconds)
            process.kill()
            assert wait_for_exit(process) in (0, -signal.SIGKILL)
            fits.check(name)
        run_in_fork(*fits.go_on(name))
        fits.ended_as_if_left_alone(name)


def test_killed_while_it_writes_it_goes_on_to_the_same_end(fits, rounds):
    """At a change of a file: of a checkpoint, scores, log, configuration, or the store."""
    for number in range(rounds(1, 40)):
        draw = random.Random(number)
        name = f"writing_{number}"
        change, delay = draw.randrange(len(fits.changes)), draw.choice([0, draw.uniform(0, 0.01)])
        process = fork_command(
            *fits.go_on(name), prepare=kill_at_change(change + 1, delay, *fits.places(name))
        )
        assert wait_for_exit(process) in (0, -signal.SIGKILL), fits.changes[change]
        fits.check(name)
        run_in_fork(*fits.go_on(name))
        fits.ended_as_if_left_alone(name)


def test_killed_before_a_checkpoint_is_renamed_it_has_the_one_before(fits):
    renames = [
        place for place, line in enumerate(fits.changes) if "rename" in line and "last.ckpt" in line
    ]
    assert len(renames) == 3
    process = fork_command(
        *fits.go_on("between"), prepare=kill_at_change(renames[1] + 1, 0, *fits.places("between"))
    )
    assert wait_for_exit(process) == -signal.SIGKILL
    assert len(list((fits.folder / "between").glob(".*.ckpt"))) == 1
    assert torch.load(fits.folder / "between" / "last.ckpt", weights_only=True)["epoch"] == 0
    run_in_fork(*fits.go_on("between"))
    fits.ended_as_if_left_alone("between")


def test_stopped_by_sigterm_it_fails_says_how_to_go_on_and_does(fits, rounds, capfd):
    for number in range(rounds(1, 10)):
        name = f"stopped_{number}"
        process = fork_command(*fits.go_on(name))
        wait_for_file(fits.folder / name / "last.ckpt", [process])
        time.sleep(random.Random(number).uniform(0, fits.seconds / 3))
        process.terminate()
        status = wait_for_exit(process)
        told = capfd.readouterr().err
        if status != 0:  # else it had ended before
            assert status == 1
            assert (
                f"mmie: ended by SIGTERM; --ckpt_path {fits.folder / name / 'last.ckpt'} continues it"
                in told
            )
        run_in_fork(*fits.go_on(name))
        fits.ended_as_if_left_alone(name)


def test_it_goes_on_the_same_with_workers_that_read_ahead(fits):
    process = fork_command(*fits.go_on("workers"))
    wait_for_file(fits.folder / "workers" / "last.ckpt", [process])
    process.kill()
    wait_for_exit(process)
    run_in_fork(*fits.go_on("workers", "--data.num_workers=2"))
    fits.ended_as_if_left_alone("workers")


def test_a_fit_without_a_checkpoint_says_that_there_is_none(fits):
    outcome = run("fit", *fits.options("none"), "--ckpt_path=last")
    assert outcome.status == 1
    assert f"{fits.folder / 'none' / 'last.ckpt'} does not exist" in outcome.err
    assert "fit without --ckpt_path" in outcome.err


def test_a_run_that_is_to_be_overwritten_stays_what_it_is_until_training_starts(fits):
    run_in_fork("fit", *fits.options("old"))
    run_dir, store = fits.places("old")
    before = {file.name: file.read_bytes() for file in run_dir.iterdir()}
    shutil.rmtree(store)
    other = fits.options("old", "--overwrite=true", "--seed_everything=7")
    process = fork_command("fit", *other, prepare=kill_at_change(3, 0, store))
    assert wait_for_exit(process) == -signal.SIGKILL
    assert {file.name: file.read_bytes() for file in run_dir.iterdir()} == before
