"""One writer of a file or folder at a time, whose lock ends with its process."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading

import pytest
from helpers.faults import write_abandoned

from mmie.utils.locks import LockError, file_lock, folder_lock, hold_with_children, is_held

HOLD = """
import sys
from pathlib import Path
from mmie.utils.locks import file_lock, folder_lock
with file_lock(Path(sys.argv[1])), folder_lock(Path(sys.argv[2])):
    print("held", flush=True)
    sys.stdin.read()
"""


def names(folder):
    """Return the sorted names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def in_thread(function):
    """Run a function in another thread and return the error that it raises."""
    errors = []

    def run():
        try:
            function()
        except LockError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return errors


def take(lock):
    """Take a lock and release it."""
    with lock:
        pass


def test_a_lock_is_held_once_and_leaves_nothing(tmp_path):
    file, folder = tmp_path / "new" / "a.jsonl", tmp_path / "runs" / "a"
    with file_lock(file), folder_lock(folder), folder_lock(folder, "sweep"), file_lock(file):
        assert names(file.parent) == ["a.jsonl.lock", "a.jsonl.lock.holder"]
        (reason,) = in_thread(lambda: take(file_lock(file)))
        assert (
            f"{file} is being written by process {os.getpid()} on {socket.gethostname()}" in reason
        )
        assert len(in_thread(lambda: take(folder_lock(folder)))) == 1
        assert in_thread(lambda: take(folder_lock(folder, "test"))) == []
        assert in_thread(lambda: take(file_lock(tmp_path / "b"))) == []
    assert names(tmp_path) == []
    with folder_lock(folder):
        (folder / "result").touch()
    assert names(folder) == ["result"]


@pytest.mark.slow
def test_the_lock_of_a_killed_process_ends(tmp_path):
    file, folder = tmp_path / "a.jsonl", tmp_path / "run"
    command = [sys.executable, "-c", HOLD, str(file), str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"held\n"
    for lock in (file_lock(file), folder_lock(folder)):
        with pytest.raises(LockError, match=f"by process {process.pid} on .* since 20"):
            take(lock)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert names(tmp_path) == ["a.jsonl.lock", "a.jsonl.lock.holder", "run"]
    take(file_lock(file))
    take(folder_lock(folder))
    assert names(tmp_path) == ["run"]


def test_what_a_killed_process_left_half_written_is_removed_with_its_lock(tmp_path):
    file, folder = tmp_path / "a.jsonl", tmp_path / "run"
    write_abandoned(file)
    write_abandoned(folder / "last.ckpt")
    take(file_lock(file))
    take(folder_lock(folder))
    assert names(tmp_path) == ["run"]
    assert names(folder) == []


def test_a_file_is_held_until_its_last_process_has_closed_it(tmp_path):
    file = tmp_path / "log"
    assert not is_held(file)
    with file.open("ab") as log:
        hold_with_children(log)
        hold_with_children(log)
        line = [sys.executable, "-S", "-c", "input()"]
        child = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=log)
        assert is_held(file)
    assert is_held(file)
    with file.open("ab") as log:
        hold_with_children(log)  # held already
    child.communicate(b"\n")
    assert not is_held(file)
    (tmp_path / "link").symlink_to(file)
    assert not is_held(tmp_path / "link")


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[1]",
        b"[" * 5000,
        b'{"pid": -1, "host": "a", "since": "2026"}',
        b'{"pid": 1, "host": "\\u001b]0;x", "since": "2026"}',
        json.dumps({"pid": 2**22 + 1, "host": socket.gethostname(), "since": "2026"}).encode(),
    ],
)
def test_a_wrong_record_names_nobody(tmp_path, monkeypatch, record):
    monkeypatch.setattr("mmie.utils.locks._PATIENCE", 0.0)
    file = tmp_path / "a"
    with file_lock(file):
        (tmp_path / "a.lock.holder").write_bytes(record)
        (reason,) = in_thread(lambda: take(file_lock(file)))
    assert "is being written by another process: wait" in reason


def test_a_lock_is_never_written_through_a_link(tmp_path):
    kept = tmp_path / "keep.txt"
    kept.write_text("mine")
    (tmp_path / "a.lock").symlink_to(kept)
    (tmp_path / "b.lock").hardlink_to(kept)
    (tmp_path / "c.lock.holder").symlink_to(kept)
    for name in ("a", "b"):
        with pytest.raises(LockError, match=r"cannot be locked: .*link"):
            take(file_lock(tmp_path / name))
    take(file_lock(tmp_path / "c"))
    assert kept.read_text() == "mine"


def test_a_lock_that_cannot_be_written_is_an_error_of_one_line(tmp_path):
    (tmp_path / "file").touch()
    for lock in (folder_lock(tmp_path / "file" / "run"), file_lock(tmp_path / ("x" * 300))):
        with pytest.raises(LockError, match=r"cannot be locked: .+: .+"):
            take(lock)
