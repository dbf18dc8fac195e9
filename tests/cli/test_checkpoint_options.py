"""The checkpoint that a command explains or exports."""

import pytest
from jsonargparse import Namespace

from mmie.cli.checkpoint_options import chosen_checkpoint
from mmie.cli.parsing import UsageError


def test_a_checkpoint_takes_the_place_of_the_best_one():
    assert chosen_checkpoint(Namespace(run="r", checkpoint=None)) == "r"
    assert chosen_checkpoint(Namespace(run="r", checkpoint="r/last.ckpt")) == "r/last.ckpt"
    assert chosen_checkpoint(Namespace(run=None, checkpoint="a.ckpt")) == "a.ckpt"
    with pytest.raises(UsageError, match="name a run folder"):
        chosen_checkpoint(Namespace(run=None, checkpoint=None))
