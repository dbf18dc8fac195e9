"""What callbacks read from a trainer."""

from types import SimpleNamespace

import pytest
import torch

from mmie.training.trainers import is_writer, logged_values, pictures_of


@pytest.mark.parametrize(
    ("is_first", "is_trial", "writes"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_the_first_process_writes_except_in_a_trial(is_first, is_trial, writes):
    trainer = SimpleNamespace(is_global_zero=is_first, fast_dev_run=is_trial)
    assert is_writer(trainer) == writes


def test_pictures_are_the_right_ones_without_a_setting():
    data = SimpleNamespace(pictures="shuffled")
    assert pictures_of(SimpleNamespace(datamodule=data)) == "shuffled"
    assert pictures_of(SimpleNamespace(datamodule=None)) == "right"


def test_logged_tensors_become_floats():
    trainer = SimpleNamespace(callback_metrics={"val/f1": torch.tensor(0.5)})
    values = logged_values(trainer)
    assert values == {"val/f1": 0.5}
    assert type(values["val/f1"]) is float
