"""Long extraction jobs keep their memory, and Ray jobs outlive their actors and their own end.

Run by ``pytest --soak tests/soak/test_long_jobs.py -s``, which prints what it measured.
"""

import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from helpers.command import read_jsonl
from helpers.fits import check_success, fork_command, wait_for_exit
from helpers.ray_rows import write_lines

pytestmark = pytest.mark.slow

MARKS = (10_000, 50_000, 100_000)
"""Numbers of posts at which memory is measured."""
MAX_GROWTH = 8
"""Largest growth of resident memory from the first to the last mark, in MiB."""
RAY_POSTS = 4_096
RAY_FILES = 4
ACTOR = re.compile(rb"ray::.*ExtractionActor")


@pytest.fixture(autouse=True)
def only_in_the_long_form(request: pytest.FixtureRequest) -> None:
    """Skip the tests unless ``--soak`` is given."""
    if not request.config.getoption("--soak"):
        pytest.skip("run by --soak")


def make_posts(demo_root: Path, count: int, with_picture: int) -> list[dict]:
    """Return posts of the demo corpus, repeated with ids of their own.

    Args:
        demo_root: Folder of the corpus.
        count: Number of posts.
        with_picture: One post in so many has a picture.
    """
    records = []
    for split in ("train", "valid", "test"):
        records += read_jsonl(demo_root / f"{split}.jsonl")
    posts = []
    for number in range(count):
        record = records[number % len(records)]
        post = {"id": f"post {number}", "text": " ".join(record["words"])}
        if number % with_picture == 0:
            post["image"] = record["image"]
        posts.append(post)
    return posts


def resident_mib(pid: int) -> float:
    """Return the resident memory of a process in MiB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_memory_does_not_grow_with_the_number_of_posts(demo_root, random_pair, tmp_path):
    source, out = demo_root / "long_job.jsonl", tmp_path / "found.jsonl"
    write_lines(source, make_posts(demo_root, MARKS[-1] + 1_000, with_picture=20))
    process = fork_command(
        "extract", source, f"--ner={random_pair['ner']}", "--device=cpu", "-o", out
    )
    progress = out.with_name(f"{out.name}.progress")
    measured: dict[int, float] = {}
    while process.is_alive() and len(measured) < len(MARKS):
        time.sleep(0.05)
        if not progress.exists():
            continue
        read = json.loads(progress.read_text())["totals"]["read"]
        for mark in MARKS:
            if read >= mark and mark not in measured:
                measured[mark] = resident_mib(process.pid)
    assert wait_for_exit(process) == 0, process.err
    print({mark: f"{memory:.1f} MiB" for mark, memory in measured.items()})
    assert measured[MARKS[-1]] - measured[MARKS[0]] < MAX_GROWTH, measured


@pytest.fixture(scope="module")
def ray_job(demo_root, random_pair, tmp_path_factory):
    """Function that returns the arguments of a Ray job, given its output folder."""
    pytest.importorskip("ray.data")
    posts = make_posts(demo_root, RAY_POSTS, with_picture=4)
    folder = tmp_path_factory.mktemp("ray_posts")
    size = RAY_POSTS // RAY_FILES
    for number in range(RAY_FILES):
        write_lines(folder / f"{number}.jsonl", posts[number * size : (number + 1) * size])

    def options(out: Path) -> list[str]:
        sizes = ["--window=64", "--rows_per_file=256", "--actors=1"]
        checkpoint = f"--ner={random_pair['ner']}"
        place = ["--engine=ray", f"--pictures={demo_root}", "-o", str(out)]
        return ["extract", str(folder), checkpoint, *sizes, *place]

    return options


@pytest.fixture(scope="module")
def unbroken(ray_job, tmp_path_factory):
    """Files of results of a job that nothing disturbs."""
    out = tmp_path_factory.mktemp("unbroken") / "out"
    check_success(start_ray(ray_job(out)))
    files = read_shards(out)
    assert len(files) == RAY_POSTS // 256
    return files


def start_ray(arguments: list[str]):
    """Start a Ray job in a process of its own."""
    return fork_command(*arguments, RAY_USAGE_STATS_ENABLED="0", RAY_ADDRESS="local")


def read_shards(out: Path) -> dict[str, bytes]:
    """Read the files of results."""
    return {file.name: file.read_bytes() for file in sorted(out.glob("part-*.parquet"))}


def descendants(pid: int) -> list[int]:
    """Return the ids of the processes that a process has started, directly or not."""
    found = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            found += [child, *descendants(child)]
    return found


def find_actors(pid: int) -> list[int]:
    """Return the ids of the actors of a Ray job."""
    actors = []
    for child in descendants(pid):
        try:
            line = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:  # it has ended
            continue
        if ACTOR.match(line):
            actors.append(child)
    return actors


def wait_for_shards(out: Path, process, count: int) -> None:
    """Wait until a job has written some files of results."""
    while len(read_shards(out)) < count:
        assert process.is_alive(), wait_for_exit(process)
        time.sleep(0.02)


def test_a_job_outlives_its_actors(ray_job, unbroken, tmp_path):
    process = start_ray(ray_job(tmp_path / "out"))
    killed = []
    for count in (1, 4, 8):
        wait_for_shards(tmp_path / "out", process, count)
        for actor in find_actors(process.pid):
            os.kill(actor, signal.SIGKILL)
            killed.append(actor)
    assert wait_for_exit(process, 600) == 0, process.err
    assert len(set(killed)) >= 2
    print(f"{len(killed)} actors killed")
    assert read_shards(tmp_path / "out") == unbroken


def test_a_killed_job_goes_on_behind_its_last_file_of_results(ray_job, unbroken, tmp_path):
    out = tmp_path / "out"
    for count in (2, 9):
        process = start_ray(ray_job(out))
        wait_for_shards(out, process, count)
        os.kill(process.pid, signal.SIGKILL)
        wait_for_exit(process)
        assert not (out / "_SUCCESS").exists()
    kept = {file: file.stat().st_ino for file in out.glob("part-*.parquet")}
    check_success(start_ray(ray_job(out)))
    assert read_shards(out) == unbroken
    rewritten = [file.name for file, inode in kept.items() if file.stat().st_ino != inode]
    print(f"{len(kept)} of {len(unbroken)} files kept, {len(rewritten)} written again")
    assert len(rewritten) <= 1  # one that was written and not yet recorded
