"""Interruptions of a run by signals or lost processes, as errors that say how to continue."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mmie.runs.folder import LAST
from mmie.types import MmieError
from mmie.utils.signals import AGAIN, GOES_ON


class RunEnded(MmieError, RuntimeError):
    """A run that was ended by a signal, or by the end of another of its processes."""


@contextlib.contextmanager
def ended_from_outside(trainer: Trainer) -> Iterator[None]:
    """Turn signals and lost processes into `RunEnded`.

    Lightning would let SIGTERM pass for success. Processes other than the first exit silently.

    Raises:
        RunEnded: A signal or the loss of another process ended the run.
    """
    try:
        yield
    except (SystemExit, RuntimeError) as error:
        system_exit = _find_system_exit(error)
        if system_exit is not None:
            if not trainer.is_global_zero:
                sys.exit(0)  # with another status, Lightning would kill the first process at work
            raise RunEnded(_describe_signal(trainer, system_exit)) from error
        if not (isinstance(error, dist.DistError) or "gloo/transport" in str(error)):
            raise  # not because a process could not be reached
        raise RunEnded(
            "another process of the run has ended, see its message; " + _how_to_continue(trainer)
        ) from error


class EndTogether(Callback):
    """Lets SIGTERM end a run of several processes at once.

    Lightning answers the signal with a collective operation in the middle of whatever other one is
    going on, so that the processes wait for each other forever. Nothing is lost by ending at once,
    since checkpoints are written at the ends of epochs.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handler, which is installed before and removed at the end."""
        _end_at_sigterm(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handler."""
        _end_at_sigterm(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handler."""
        _end_at_sigterm(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace Lightning's signal handler."""
        _end_at_sigterm(trainer)


def _end_at_sigterm(trainer: Trainer) -> None:
    """Install a handler that kills the launched processes and raises `SIGTERMException` here."""

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second signal must not disturb the end
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGKILL)
        raise SIGTERMException

    if trainer.world_size > 1:
        signal.signal(signal.SIGTERM, end)


def _find_system_exit(error: BaseException | None) -> SystemExit | None:
    """Find the `SystemExit` during which an error was raised.

    Torch raises another error when it closes a file half written.
    """
    while error is not None and not isinstance(error, SystemExit):
        error = error.__context__
    return error


def _describe_signal(trainer: Trainer, system_exit: SystemExit) -> str:
    """Say which signal has ended a run, and how to continue."""
    advice = _how_to_continue(trainer)
    if isinstance(system_exit, SIGTERMException):
        return f"ended by SIGTERM; {advice}"
    if advice == AGAIN:
        return f"interrupted, {GOES_ON}"
    return f"ended by an interrupt; {advice}"


def _how_to_continue(trainer: Trainer) -> str:
    """Say how to continue without losing anything."""
    last = Path(trainer.default_root_dir) / LAST
    if trainer.state.fn == TrainerFn.FITTING and trainer.global_step and last.exists():
        return f"--ckpt_path {last} continues it"
    return AGAIN
