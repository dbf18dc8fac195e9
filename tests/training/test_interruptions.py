import pytest
from helpers.methods import build_trainer
from lightning.pytorch.utilities.exceptions import SIGTERMException

from mmie.training.interruptions import RunEnded, ended_from_outside


def half_written():
    """What torch does when a signal comes while it writes a checkpoint."""
    try:
        raise SIGTERMException
    finally:
        raise RuntimeError("unexpected pos 484864 vs 484752")


def test_a_signal_in_the_midst_of_a_checkpoint_is_what_has_ended_the_run(tmp_path):
    run = ended_from_outside(build_trainer(tmp_path))
    with pytest.raises(RunEnded, match="ended by SIGTERM; give the same command again"), run:
        half_written()


def test_other_errors_stay_what_they_are(tmp_path):
    run = ended_from_outside(build_trainer(tmp_path))
    with pytest.raises(RuntimeError, match="out of memory") as caught, run:
        raise RuntimeError("out of memory")
    assert not isinstance(caught.value, RunEnded)
