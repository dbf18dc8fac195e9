"""Fits in processes of their own that may be killed, and what two fits must share."""

import hashlib
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any

import torch

from helpers.command import metrics, run, without_clocks

CHANGES = ("os.rename", "os.remove", "os.mkdir", "shutil.move")
"""Audit events of changes to files, beside ``open`` for writing."""
Prepare = Callable[[], None]


def begin(*arguments: object, prepare: Prepare | None = None, **environment: str) -> ForkProcess:
    """``mmie ARGUMENTS`` in a fork of this process, which spares importing.

    Args:
        *arguments: The line.
        prepare: Called in the new process, before.
        **environment: Variables of the new process.
    """
    process = multiprocessing.get_context("fork").Process(
        target=_run, args=(arguments, prepare, environment)
    )
    process.start()
    return process


def _run(arguments: Sequence[object], prepare: Prepare | None, environment: dict[str, str]) -> None:
    """What the new process does."""
    os.environ.update(environment)
    if prepare is not None:
        prepare()
    outcome = run(*arguments)
    sys.__stderr__.write(outcome.err)
    sys.__stderr__.flush()
    os._exit(outcome.status)


def end(process: ForkProcess, seconds: float = 120) -> int:
    """Wait for a process; its exit status, below 0 for the signal that killed it."""
    process.join(seconds)
    hangs = process.is_alive()
    process.kill()
    process.join()
    assert not hangs, f"the process did not end within {seconds} s"
    return process.exitcode


def complete(*arguments: object) -> None:
    """``mmie ARGUMENTS`` in a fork of this process; it must not fail."""
    assert end(begin(*arguments)) == 0


def begin_together(
    count: int, *arguments: object, prepare: Sequence[Prepare | None] = ()
) -> list[ForkProcess]:
    """``mmie ARGUMENTS`` in several processes that know of each other, as a cluster starts them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free.getsockname()[1]),
            "NODE_RANK": "0",
        }
    line = [*arguments, f"--trainer.devices={count}", "--trainer.strategy=ddp"]
    prepared = [*prepare, *[None] * (count - len(prepare))]
    return [
        begin(*line, prepare=prepared[rank], LOCAL_RANK=str(rank), **where) for rank in range(count)
    ]


def wait_for(file: Path, processes: Sequence[ForkProcess], seconds: float = 60) -> None:
    """Wait until a file is there."""
    limit = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < limit, f"{file} did not come"
        assert any(process.is_alive() for process in processes), f"ended before there was {file}"
        time.sleep(0.005)


def die_at_change(number: int, delay: float, *folders: Path) -> Prepare:
    """Has a process kill itself ``delay`` seconds after it begins its ``number``-th change (from 1) in the folders."""

    def prepare() -> None:
        count = 0

        def watch(event: str, details: tuple[Any, ...]) -> None:
            nonlocal count
            if _is_change(event, details, folders):
                count += 1
                if count == number:
                    _die(delay)

        sys.addaudithook(watch)

    return prepare


def list_changes(listing: Path, *folders: Path) -> Prepare:
    """Has a process write a line into a file for every change in the folders."""

    def prepare() -> None:
        stream = listing.open("a", buffering=1)

        def watch(event: str, details: tuple[Any, ...]) -> None:
            if _is_change(event, details, folders):
                stream.write(f"{event} {details[:2]}\n")

        sys.addaudithook(watch)

    return prepare


def _is_change(event: str, details: tuple[Any, ...], folders: Sequence[Path]) -> bool:
    """Whether an audit event is a change to a file in the folders."""
    writes = event == "open" and isinstance(details[1], str) and not details[1].startswith("r")
    touched = event in CHANGES or writes
    return touched and any(
        str(part).startswith(str(folder)) for part in details[:2] for folder in folders
    )


def _die(delay: float) -> None:
    """Have this process killed in a while."""

    def die() -> None:
        time.sleep(delay)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=die, daemon=True).start() if delay else die()


def outcome_of(run_dir: Path) -> dict[str, Any]:
    """What two runs of the same fit share: weights, moments and schedule, bit for bit; scores; the log."""
    fit = {
        name: value
        for name, value in metrics(run_dir)["fit"].items()
        if not name.startswith("peak")
    }
    best, epochs = without_clocks([fit.pop("best")]), without_clocks(fit.pop("epochs"))
    parts = {
        name: part
        for file in ("best.ckpt", "last.ckpt")
        for name, part in _digests(run_dir / file).items()
    }
    return {
        **fit,
        **parts,
        "best": best,
        "epochs": epochs,
        "log": (run_dir / "metrics.csv").read_text(),
    }


def _digests(file: Path) -> dict[str, str]:
    """A digest of every part of a checkpoint that has no clock or path in it."""
    content = torch.load(file, weights_only=True)
    names = ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch")
    return {
        f"{file.name} {name}": hashlib.sha256(
            repr(list(_leaves(content[name]))).encode()
        ).hexdigest()
        for name in names
    }


def _leaves(value: object) -> Iterator[object]:
    """All that nested dictionaries and lists hold, tensors as their bytes."""
    if isinstance(value, torch.Tensor):
        yield (
            value.dtype,
            value.shape,
            value.detach().contiguous().view(-1).view(torch.uint8).numpy().tobytes(),
        )
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from _leaves(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value
