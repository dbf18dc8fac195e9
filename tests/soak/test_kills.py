"""`mmie extract`, `ground` and `sweep` that are killed at any moment go on to the same files.

The long form kills `extract` and `ground` 60 times each and `sweep` 54 times. Together with the 73
kills of `fit` in ``test_resume.py`` these are 247. Some come too late, since a command may end
before; the tests require that at least 20 of each 30 do not.
"""

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.command import read_jsonl, scored_section
from helpers.fits import (
    CommandProcess,
    check_success,
    fit_result,
    fork_command,
    run_in_fork,
    wait_for_exit,
)
from helpers.kills import (
    follow_environment,
    kill_at_change,
    kill_environment,
    kill_tree,
    log_changes,
    processes_with,
)
from helpers.paths import CONFIGS

from mmie.experiments.sweep import plan_sweep

pytestmark = pytest.mark.slow


class KilledCommand:
    """Command that is killed and given again, and the files of an unbroken run.

    Args:
        folder: Folder of the outputs of all rounds. An unbroken run is made here.
        options: Returns the arguments of the command, given its output folder.
    """

    def __init__(self, folder: Path, options: Callable[[Path], list[str]]) -> None:
        self.folder = folder
        self.options = options
        log = folder / "changes"
        process = self.start("unbroken", log_changes(log, self.out("unbroken")))
        wait_for_output(self.out("unbroken"), process)
        start = time.monotonic()
        check_success(process)
        self.seconds = time.monotonic() - start
        self.num_changes = len(log.read_text().splitlines())
        self.expected = read_tree(self.out("unbroken"))

    def out(self, name: str) -> Path:
        """Return the output folder of a round."""
        return self.folder / name / "out"

    def start(self, name: str, prepare: Callable[[], None] | None = None) -> CommandProcess:
        """Start the command of a round, with caches of its own."""
        cache = str(self.folder / name / "cache")
        return fork_command(*self.options(self.out(name)), prepare=prepare, MMIE_CACHE=cache)

    def kill_at_moment(self, name: str, draw: random.Random) -> bool:
        """Kill the command at a random moment of its work.

        Returns:
            Whether it was killed before its end.
        """
        process = self.start(name)
        wait_for_output(self.out(name), process)
        time.sleep(draw.uniform(0, 0.9) * self.seconds)
        process.kill()
        return self.was_killed(process)

    def kill_at_change(self, name: str, draw: random.Random) -> bool:
        """Kill the command at a random change of a file.

        Returns:
            Whether it was killed before its end.
        """
        number = 1 + draw.randrange(self.num_changes)
        delay = draw.choice([0, 0, draw.uniform(0, 0.01)])
        return self.was_killed(self.start(name, kill_at_change(number, delay, self.out(name))))

    def was_killed(self, process: CommandProcess) -> bool:
        """Tell whether a process was killed before its end, which must be a success.

        Where an earlier attempt has left nothing to do, `mmie extract` says so.
        """
        status = wait_for_exit(process)
        if status == 1:
            assert "found.jsonl is there already" in process.err, process.err
        else:
            assert status in (0, -signal.SIGKILL), process.err
        return status == -signal.SIGKILL

    def check(self, name: str) -> None:
        """Give the command again, and check that its files are those of the unbroken run."""
        assert not self.was_killed(self.start(name))
        assert read_tree(self.out(name)) == self.expected, name
        shutil.rmtree(self.folder / name)


def wait_for_output(out: Path, process: CommandProcess) -> None:
    """Wait until a command has written something into its output folder."""
    while not (out.exists() and any(out.iterdir())):
        assert process.is_alive(), wait_for_exit(process)
        time.sleep(0.002)


def read_tree(folder: Path) -> dict[str, bytes]:
    """Read all files below a folder, hidden ones included."""
    files = {}
    for file in sorted(folder.rglob("*")):
        if not file.is_dir():
            files[str(file.relative_to(folder))] = file.read_bytes()
    return files


@pytest.fixture(scope="module")
def source(demo_root: Path) -> Path:
    """File of 36 posts, of which 2 cannot be read."""
    records = []
    for split in ("test", "valid"):
        records += read_jsonl(demo_root / f"{split}.jsonl")
    lines = []
    for number, record in enumerate(records):
        post = {"id": f"p{number}", "text": " ".join(record["words"]), "image": record["image"]}
        lines.append(json.dumps(post))
    file = demo_root / "killed_posts.jsonl"
    file.write_text("\n".join([*lines[:5], "broken", *lines[5:20], "[]", *lines[20:]]))
    return file


@pytest.fixture(scope="module")
def extract(source: Path, random_pair: dict[str, Path], tmp_path_factory) -> KilledCommand:
    """``mmie extract`` in ten windows."""

    def options(out: Path) -> list[str]:
        checkpoints = [f"--ner={random_pair['ner']}", f"--re={random_pair['re']}"]
        options = [*checkpoints, "--window=4", "--device=cpu"]
        files = [str(out / name) for name in ("found.jsonl", "found.csv", "found.conll")]
        return ["extract", str(source), *options, "--out", *files]

    return KilledCommand(tmp_path_factory.mktemp("extract"), options)


@pytest.fixture(scope="module")
def ground(source: Path, tmp_path_factory) -> KilledCommand:
    """``mmie ground`` in eight batches."""
    posts = source.with_name("grounded_posts.jsonl")
    lines = source.read_text().splitlines()
    posts.write_text("\n".join(line for line in lines if line.startswith("{")))

    def options(out: Path) -> list[str]:
        batches = ["--batch_size=4", "--num_crops=2"]
        return ["ground", f"--posts={posts}", f"--out={out}", "--detector=center", *batches]

    return KilledCommand(tmp_path_factory.mktemp("ground"), options)


@pytest.mark.parametrize("command", ["extract", "ground"])
def test_a_command_killed_at_random_moments_goes_on_to_the_same_files(command, request, rounds):
    killed = request.getfixturevalue(command)
    num_kills = 0
    for number in range(rounds(1, 20)):
        draw = random.Random(number)
        for _ in range(draw.choice([1, 1, 3])):
            num_kills += killed.kill_at_moment(f"moment_{number}", draw)
        killed.check(f"moment_{number}")
    assert num_kills >= rounds(0, 20)


@pytest.mark.parametrize("command", ["extract", "ground"])
def test_a_command_killed_while_it_writes_goes_on_to_the_same_files(command, request, rounds):
    killed = request.getfixturevalue(command)
    num_kills = 0
    for number in range(rounds(2, 20)):
        draw = random.Random(number)
        for _ in range(draw.choice([1, 1, 3])):
            num_kills += killed.kill_at_change(f"change_{number}", draw)
        killed.check(f"change_{number}")
    assert num_kills >= rounds(1, 20)


class KilledSweep:
    """Sweep that is killed and given again, and the scores of the same fit and test by themselves.

    Args:
        corpus: Folder of the corpus.
        folder: Folder of all rounds.

    Attributes:
        seconds: Time in which a sweep is killed.
        num_changes: Number of changes of files in an unbroken sweep, see `run_unbroken`.
    """

    def __init__(self, corpus: Path, folder: Path) -> None:
        self.folder = folder
        self.config = f"{CONFIGS / 'demo_text_only.yaml'}+{CONFIGS / 'hardware' / 'cpu.yaml'}"
        self.settings = [
            "data.corpus.class_path=mmie.data.JsonlCorpus",
            f"data.corpus.init_args.root={corpus}",
            f"model.init_args.text_encoder={corpus / 'encoder'}",
            "data.batch_size=8",
            "trainer.max_epochs=2",
        ]
        (job,) = plan_sweep([self.config], self.settings, "1", self.out("alone"))
        start = time.monotonic()
        run_in_fork("fit", *job.fit_options)
        run_in_fork("test", f"--config={job.folder / 'config.yaml'}", f"--run_dir={job.folder}")
        self.seconds = time.monotonic() - start
        self.num_changes = 0
        self.expected = sweep_result(self.out("alone"))

    def run_unbroken(self) -> None:
        """Measure an unbroken sweep."""
        process = self.start("unbroken", 0)
        wait_for_output(self.out("unbroken"), process)
        start = time.monotonic()
        check_success(process)
        self.seconds = time.monotonic() - start
        self.num_changes = self.counter("unbroken").stat().st_size
        assert sweep_result(self.out("unbroken")) == self.expected

    def out(self, name: str) -> Path:
        """Return the output folder of a round."""
        return self.folder / name / "out"

    def counter(self, name: str) -> Path:
        """Return the file that counts the changes of a round."""
        return self.folder / name / "counter"

    def start(self, name: str, number: int | None = None, whole_tree: bool = False):
        """Start the sweep of a round: a fit and a test, each in a process of its own.

        Args:
            name: Name of the round.
            number: Number of the change of a file that kills, 0 for none; None counts none.
            whole_tree: Whether to kill all processes, or the one alone that makes the change.
        """
        settings = [f"--set={setting}" for setting in self.settings]
        one_thread = f"--jobs={os.cpu_count()}"  # as the fit by itself has
        line = ["sweep", self.config, "--seeds=1", f"--out={self.out(name)}", *settings, one_thread]
        environment = {"MMIE_CACHE": str(self.folder / name / "cache")}
        if number is None:
            return fork_command(*line, **environment)
        self.counter(name).parent.mkdir(exist_ok=True)
        environment |= kill_environment(self.out(name), self.counter(name), number, whole_tree)
        return fork_command(*line, prepare=follow_environment, **environment)

    def start_until_moment(self, name: str, draw: random.Random) -> CommandProcess:
        """Start the sweep of a round and wait until a random moment of its work."""
        process = self.start(name)
        wait_for_output(self.out(name), process)
        time.sleep(draw.uniform(0, 0.9) * self.seconds)
        return process

    def wait_for_orphans(self, name: str) -> None:
        """Wait until no process of a round runs."""
        limit = time.monotonic() + 240
        while processes_with(self.folder / name):
            assert time.monotonic() < limit
            time.sleep(0.02)

    def check(self, name: str) -> None:
        """Give the command again, and check that its scores are those of the unbroken sweep."""
        check_success(self.start(name))
        assert sweep_result(self.out(name)) == self.expected, name
        shutil.rmtree(self.folder / name)


def sweep_result(out: Path) -> dict[str, object]:
    """Return all that two equal sweeps share: fits, scores and predictions."""
    results: dict[str, object] = {}
    for config in sorted(out.rglob("config.yaml")):
        run = config.parent
        assert list(run.glob(".*")) == []
        results[f"{run.relative_to(out)} fit"] = fit_result(run)
        test = scored_section(run)
        del test["checkpoint"], test["checkpoint_sha256"]  # a path, and a file that holds paths
        results[f"{run.relative_to(out)} test"] = test
        results[f"{run.relative_to(out)} predictions"] = (run / "predictions.jsonl").read_bytes()
    return results


def count_starts(out: Path) -> int:
    """Return the number of processes that sweeps have started."""
    logs = [file.read_text() for file in out.rglob("sweep.log")]
    return "".join(logs).count("$ ")


@pytest.fixture(scope="module")
def sweep(demo_root: Path, tmp_path_factory, rounds) -> KilledSweep:
    """``mmie sweep`` of one run."""
    killed = KilledSweep(demo_root, tmp_path_factory.mktemp("sweep"))
    if rounds(0, 1):
        killed.run_unbroken()
    return killed


def test_a_sweep_killed_alone_goes_on_after_the_end_of_its_fit(sweep, rounds):
    for number in range(rounds(1, 10)):
        name = f"alone_{number}"
        process = sweep.start_until_moment(name, random.Random(number))
        process.kill()
        wait_for_exit(process)
        orphans = processes_with(sweep.folder / name)
        for orphan in orphans:
            os.kill(orphan, signal.SIGSTOP)
        if orphans:
            num_starts = count_starts(sweep.out(name))
            second = sweep.start(name)
            assert wait_for_exit(second) == 1
            assert "seed_1234 is being written by " in second.err
            assert "process" in second.err
            assert count_starts(sweep.out(name)) == num_starts
        for orphan in orphans:
            os.kill(orphan, signal.SIGCONT)
        sweep.wait_for_orphans(name)
        sweep.check(name)


def test_a_sweep_killed_with_its_fit_goes_on_to_the_same_scores(sweep, rounds):
    if not rounds(0, 10):
        pytest.skip("each of its processes imports everything anew: see --soak")
    for number in range(rounds(0, 10)):
        name = f"tree_{number}"
        draw = random.Random(number)
        for _ in range(draw.choice([1, 1, 3])):
            process = sweep.start_until_moment(name, draw)
            kill_tree(process.pid)
            assert wait_for_exit(process) in (0, -signal.SIGKILL)
        sweep.check(name)


def test_a_sweep_killed_while_a_process_writes_goes_on_to_the_same_scores(sweep, rounds):
    # the process is the sweep, its fit or its test
    if not rounds(0, 30):
        pytest.skip("each of its processes imports everything anew: see --soak")
    for number in range(rounds(0, 30)):
        name = f"writing_{number}"
        draw = random.Random(number)
        whole_tree = draw.random() < 0.5
        change = 1 + draw.randrange(sweep.num_changes)
        process = sweep.start(name, change, whole_tree)
        status = wait_for_exit(process)
        if status == 1 and not whole_tree:
            assert "1 of 1 runs failed" in process.err
        else:
            assert status in (0, -signal.SIGKILL), process.err
        sweep.wait_for_orphans(name)
        sweep.check(name)
