"""Runs that are ended by a signal or by the loss of a process."""

import re
from types import SimpleNamespace

import pytest
import torch.distributed as dist
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mmie.training.interruptions import RunEnded, ended_from_outside


@pytest.fixture
def trainer(tmp_path):
    """Trainer of a test, as far as it is read."""
    state = SimpleNamespace(fn=TrainerFn.TESTING)
    return SimpleNamespace(
        is_global_zero=True, default_root_dir=tmp_path, state=state, global_step=0
    )


def fail_while_writing():
    """Raise as torch does when a signal arrives while it writes a checkpoint."""
    try:
        raise SIGTERMException
    finally:
        raise RuntimeError("unexpected pos 484864 vs 484752")


def test_a_signal_while_a_checkpoint_is_written_ends_the_run(trainer):
    message = "ended by SIGTERM; give the same command again"
    with pytest.raises(RunEnded, match=message), ended_from_outside(trainer):
        fail_while_writing()


def test_an_ended_fit_names_the_checkpoint_that_continues_it(trainer, tmp_path):
    trainer.state.fn = TrainerFn.FITTING
    trainer.global_step = 1
    last = tmp_path / "last.ckpt"
    last.touch()
    message = re.escape(f"ended by an interrupt; --ckpt_path {last} continues it")
    with pytest.raises(RunEnded, match=message), ended_from_outside(trainer):
        raise SystemExit


@pytest.mark.parametrize(
    "error", [dist.DistBackendError("timeout"), RuntimeError("[gloo/transport/tcp] closed")]
)
def test_a_lost_process_is_named_as_the_reason(trainer, error):
    message = "another process of the run has ended"
    with pytest.raises(RunEnded, match=message), ended_from_outside(trainer):
        raise error


def test_processes_other_than_the_first_exit_silently(trainer):
    trainer.is_global_zero = False
    with pytest.raises(SystemExit) as caught, ended_from_outside(trainer):
        raise SIGTERMException
    assert caught.value.code == 0


def test_other_errors_are_unchanged(trainer):
    with pytest.raises(RuntimeError, match="out of memory") as caught, ended_from_outside(trainer):
        raise RuntimeError("out of memory")
    assert not isinstance(caught.value, RunEnded)
