"""Commands in processes that are forked, and the results that two fits must share."""

import contextlib
import hashlib
import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import Any, BinaryIO

import torch

from helpers.command import metrics, run, without_times
from helpers.kills import Prepare
from mmie import cli
from mmie.experiments.job_runner import COMMAND
from mmie.utils.processes import THREADS

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["mmie.cli.lightning", "mmie.data", "mmie.methods"])


class CommandProcess(ForkServerProcess):
    """``mmie ARGUMENTS`` in a process of its own.

    It is forked from a server that has imported the package and done nothing else, which spares
    importing. A fork of the test's own process would inherit the signal handlers of Ray and could
    not compute gradients once autograd has started a thread.

    Args:
        arguments: Arguments of the command.
        prepare: Called in the new process, before the command.
        environment: Environment variables of the new process.

    Attributes:
        err: Standard error of the command, once `wait_for_exit` has waited for its end.
    """

    def __init__(
        self, arguments: Sequence[object], prepare: Prepare | None, environment: dict[str, str]
    ) -> None:
        self.err = ""
        self._receiver, self._sender = _CONTEXT.Pipe(duplex=False)
        line = [str(argument) for argument in arguments]
        environment = {**os.environ, **environment}
        super().__init__(
            target=_run_and_exit, args=(line, prepare, environment, self._sender), daemon=False
        )

    def wait_and_read(self, seconds: float) -> None:
        """Wait for the end and read standard error, which a killed command does not send."""
        self._sender.close()
        wait([self._receiver, self.sentinel], seconds)
        if self._receiver.poll():
            with contextlib.suppress(EOFError):
                self.err = self._receiver.recv()
        self.join(seconds)


def fork_command(
    *arguments: object, prepare: Prepare | None = None, **environment: str
) -> CommandProcess:
    """Start ``mmie ARGUMENTS`` in a process of its own. See `CommandProcess`."""
    process = CommandProcess(arguments, prepare, environment)
    process.start()
    return process


def _run_and_exit(
    arguments: Sequence[str],
    prepare: Prepare | None,
    environment: dict[str, str],
    sender: Connection,
) -> None:
    """Run the command in the new process, send its standard error and exit with its status."""
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    if prepare is not None:
        prepare()
    outcome = run(*arguments)
    sender.send(outcome.err)
    os._exit(outcome.status)


def run_forked_job(
    _: object, line: Sequence[str], environment: Mapping[str, str], log: BinaryIO
) -> int:
    """Run a command line of a sweep as `RunProcesses.run` does, but forked. See `CommandProcess`.

    Nothing can end the process.
    """
    assert tuple(line[: len(COMMAND)]) == COMMAND
    arguments = [*line[len(COMMAND) :]]
    process = _CONTEXT.Process(
        target=_run_into_log, args=(arguments, dict(environment), DupFd(log.fileno()))
    )
    process.start()
    process.join()
    return process.exitcode


def _run_into_log(arguments: Sequence[str], environment: dict[str, str], log: Any) -> None:
    """Run the command in the new process, with all its output in a log."""
    descriptor = log.detach()
    os.dup2(descriptor, sys.stdout.fileno())
    os.dup2(descriptor, sys.stderr.fileno())
    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(int(environment[THREADS]))
    sys.argv = ["mmie", *arguments]
    cli.main()


def wait_for_exit(process: CommandProcess, seconds: float = 120) -> int:
    """Wait for a process and return its exit status, below 0 for the signal that killed it."""
    process.wait_and_read(seconds)
    hangs = process.is_alive()
    process.kill()
    process.join()
    assert not hangs, f"the process did not end within {seconds} s"
    return process.exitcode


def check_success(*processes: CommandProcess) -> None:
    """Wait for processes and check that none fails."""
    for process in processes:
        assert wait_for_exit(process) == 0, process.err


def run_in_fork(*arguments: object) -> None:
    """Run ``mmie ARGUMENTS`` in a process of its own and check that it does not fail."""
    check_success(fork_command(*arguments))


def fork_distributed(count: int, *arguments: object) -> list[CommandProcess]:
    """Run ``mmie ARGUMENTS`` in several processes of one run, as a cluster starts them."""
    group = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(find_free_port()),
        "NODE_RANK": "0",
    }
    line = [*arguments, f"--trainer.devices={count}", "--trainer.strategy=ddp"]
    return [fork_command(*line, LOCAL_RANK=str(rank), **group) for rank in range(count)]


def find_free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_for_file(file: Path, processes: Sequence[CommandProcess], seconds: float = 60) -> None:
    """Wait until a file exists, and fail if all of the processes end before."""
    limit = time.monotonic() + seconds
    while not file.exists():
        assert time.monotonic() < limit, f"{file} was not written"
        assert any(process.is_alive() for process in processes), f"ended without writing {file}"
        time.sleep(0.005)


def fit_result(run_dir: Path) -> dict[str, Any]:
    """Return everything that two runs of the same fit share.

    These are weights, optimiser moments and schedule, bit for bit, scores, and the log.
    """
    section = metrics(run_dir)["fit"]
    result = {name: value for name, value in section.items() if not name.startswith("peak")}
    result["best"] = without_times([result["best"]])
    result["epochs"] = without_times(result["epochs"])
    result["log"] = (run_dir / "metrics.csv").read_text()
    for name in ("best.ckpt", "last.ckpt"):
        result.update(_digest_parts(run_dir / name))
    return result


def _digest_parts(file: Path) -> dict[str, str]:
    """Compute a digest of each part of a checkpoint that holds no time and no path."""
    content = torch.load(file, weights_only=True)
    digests = {}
    for name in ("state_dict", "optimizer_states", "lr_schedulers", "global_step", "epoch"):
        digests[f"{file.name} {name}"] = digest_leaves(content[name])
    return digests


def digest_leaves(value: object) -> str:
    """Compute the SHA-256 of the leaves of nested dictionaries and lists, tensors bit for bit."""
    return hashlib.sha256(repr(list(_leaves(value))).encode()).hexdigest()


def _leaves(value: object) -> Iterator[object]:
    """Yield the leaves of nested dictionaries and lists, tensors as their bytes."""
    if isinstance(value, torch.Tensor):
        flat = value.detach().contiguous().view(-1)
        yield value.dtype, value.shape, flat.view(torch.uint8).numpy().tobytes()
    elif isinstance(value, dict):
        for name, part in value.items():
            yield name
            yield from _leaves(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _leaves(part)
    else:
        yield value
