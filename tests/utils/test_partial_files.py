"""Files that killed processes left half written are removed, and those of others are not."""

import os
import signal
import subprocess
import sys
import time

import pytest

from mmie.utils.partial_files import STALE_SECONDS, partial_path, remove_stale_partials

KILLED_WRITER = """
import os, signal, sys
from pathlib import Path
from mmie.utils.files import atomic_write

def write(partial):
    partial.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)

atomic_write(Path(sys.argv[1]), write)
"""


def names(folder):
    """Return the sorted names in a folder."""
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.slow
def test_what_a_killed_process_left_is_removed(tmp_path):
    file = tmp_path / "scores.json"
    process = subprocess.run([sys.executable, "-c", KILLED_WRITER, file])
    assert process.returncode == -signal.SIGKILL
    (left,) = names(tmp_path)
    assert left.startswith(".")
    assert left.endswith(".partial.json")
    remove_stale_partials(tmp_path)
    assert names(tmp_path) == []


def test_files_of_living_processes_are_left_until_a_day_later(tmp_path):
    own = partial_path(tmp_path / "a.ckpt")
    space = own.name.split(".")[2].partition("-")[0]
    other_space = "0" * 8 if space != "0" * 8 else "1" * 8
    others = [
        own,
        own.with_name(own.name.replace(f".{space}-{os.getpid()}", f".{other_space}-{2**22 + 1}")),
        own.with_name(own.name.replace(f".{space}-{os.getpid()}", "")),
        own.with_name(own.name.replace(str(os.getpid()), "9" * 30)),
    ]
    for file in others:
        file.write_text("half")
    remove_stale_partials(tmp_path)
    assert names(tmp_path) == sorted(file.name for file in others)
    earlier = time.time() - STALE_SECONDS - 10
    for file in others:
        os.utime(file, (earlier, earlier))
    remove_stale_partials(tmp_path)
    assert names(tmp_path) == []


def test_other_files_are_left(tmp_path):
    files = [".mine.partial", ".0.partial.json", "a.jsonl.partial", f".{'0' * 32}.part.json"]
    earlier = time.time() - STALE_SECONDS - 10
    for name in files:
        (tmp_path / name).write_text("mine")
        os.utime(tmp_path / name, (earlier, earlier))
    folder = tmp_path / f".{'0' * 32}.partial"
    folder.mkdir()
    os.utime(folder, (earlier, earlier))
    remove_stale_partials(tmp_path)
    assert names(tmp_path) == sorted([*files, folder.name])


def test_a_folder_that_does_not_exist_has_none(tmp_path):
    remove_stale_partials(tmp_path / "absent")
    assert names(tmp_path) == []


def test_a_name_has_the_suffix_of_its_file_and_is_new_each_time(tmp_path):
    file = tmp_path / "a.b.safetensors"
    first, second = partial_path(file), partial_path(file)
    assert first != second
    assert first.parent == second.parent == tmp_path
    assert first.suffix == ".safetensors"
