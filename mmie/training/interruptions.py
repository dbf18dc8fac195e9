"""What ends a run from outside, as an error that says how to go on."""

import contextlib
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import torch.distributed as dist
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mmie.training.run_folder import LAST
from mmie.types import MmieError


class RunEnded(MmieError, RuntimeError):
    """A run that a signal, or the end of another of its processes, has ended."""


@contextlib.contextmanager
def ended_from_outside(trainer: Trainer) -> Iterator[None]:
    """Turn what ends a run from outside into `RunEnded`; Lightning would let SIGTERM pass for success.

    Raises:
        RunEnded: The run was ended so. The other processes that a signal ended with the first one exit in silence.
    """
    try:
        yield
    except (SystemExit, RuntimeError) as error:
        leaving = _exit_behind(error)
        if leaving is not None:
            if not trainer.is_global_zero:
                sys.exit(
                    0
                )  # with another status, Lightning would kill the first process at its work
            name = "SIGTERM" if isinstance(leaving, SIGTERMException) else "an interrupt"
            raise RunEnded(f"ended by {name}; {_how_to_go_on(trainer)}") from error
        if not _tells_of_lost_process(error):
            raise
        raise RunEnded(
            f"another process of the run has ended, see its message; {_how_to_go_on(trainer)}"
        ) from error


class EndTogether(Callback):
    """Has SIGTERM end a run of several processes at once; nothing is lost, since checkpoints are of ended epochs.

    Lightning answers the signal with a collective operation, in the midst of whatever other one is going on: the
    processes then wait for each other without end.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over from Lightning, which puts its own answer in place before, and removes it in the end."""
        _end_at_sigterm(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same."""
        _end_at_sigterm(trainer)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same."""
        _end_at_sigterm(trainer)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The same."""
        _end_at_sigterm(trainer)


def _end_at_sigterm(trainer: Trainer) -> None:
    """Have SIGTERM kill the processes that this one started, and raise `SIGTERMException` in it."""

    def end(number: int, frame: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # a second one must not disturb the end
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGKILL)
        raise SIGTERMException

    if trainer.world_size > 1:
        signal.signal(signal.SIGTERM, end)


def _exit_behind(error: BaseException | None) -> SystemExit | None:
    """What was leaving the run before an error: torch raises another one where it closes a file half written."""
    while error is not None and not isinstance(error, SystemExit):
        error = error.__context__
    return error


def _tells_of_lost_process(error: BaseException) -> bool:
    """Whether torch.distributed raised it because a process could not be reached."""
    return isinstance(error, dist.DistError) or "gloo/transport" in str(error)


def _how_to_go_on(trainer: Trainer) -> str:
    """What to do so that nothing is lost."""
    last = Path(trainer.default_root_dir) / LAST
    if trainer.state.fn == TrainerFn.FITTING and trainer.global_step and last.exists():
        return f"--ckpt_path {last} continues it"
    return "give the same command again"
