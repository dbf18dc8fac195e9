"""The progress bar fits a terminal of 80 columns, and counts epochs from 1."""

import io
from types import SimpleNamespace

import pytest
from lightning.pytorch.callbacks.progress.rich_progress import CustomProgress
from rich.console import Console

from mmie.training.progress_bar import RunProgressBar

LONGEST = {"train/loss_step": 123.45678, "val/f1": 1.0}


@pytest.fixture
def bar():
    """A progress bar of a fit of 100 epochs."""
    bar = RunProgressBar()
    bar._trainer = SimpleNamespace(max_epochs=100)
    return bar


def draw(bar, width, description, completed=1000):
    """Draw the bar of an epoch of 1000 batches, whose finished part is seen without colours."""
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    columns = bar.configure_columns(bar.trainer)
    progress = CustomProgress(*columns, console=console, auto_refresh=False)
    bar.train_progress_bar_id = progress.add_task(description, total=1000, completed=completed)
    with console.capture() as capture:
        console.print(progress.make_tasks_table(progress.tasks))
    return capture.get()


def test_it_takes_one_line_of_80_columns(bar):
    bar.scores = bar.describe_scores(LONGEST)
    text = draw(bar, 80, bar._get_train_description(99))
    [line] = text.splitlines()
    assert len(line) <= 80
    for part in ("epoch 100 of 100", "1000/1000", "0:00:00", "loss 123.4568", "val. F1 100.00"):
        assert part in line
    assert line.count("━") >= 6, "the bar itself is seen"


def test_it_widens_with_the_terminal(bar):
    narrow, wide = (draw(bar, width, bar._get_train_description(2)) for width in (80, 160))
    assert wide.count("━") == narrow.count("━") + 80


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, ""),
        ({"train/loss_step": 0.5, "v_num": "x", "test/f1": 0.25}, "loss 0.5000"),
        ({"train/loss_step": 0.5, "val/f1": 0.96456}, "loss 0.5000  val. F1 96.46"),
    ],
)
def test_scores_are_in_percent_and_losses_are_not(bar, values, text):
    assert bar.describe_scores(values) == text


def test_the_loss_of_a_pretraining_is_shown():
    bar = RunProgressBar("val/loss")
    assert bar.describe_scores({"val/loss": 2.5}) == "val. loss 2.5000"


def test_scores_stand_beside_the_bar_of_the_training_alone(bar):
    bar.scores = "loss 0.5000"
    text = draw(bar, 80, "epoch 1 of 2")
    assert "loss 0.5000" in text
    bar.train_progress_bar_id = None
    column = bar.configure_columns(bar.trainer)[-1]
    assert str(column.render(SimpleNamespace(id=0))) == ""
