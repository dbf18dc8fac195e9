"""Random numbers of training by seed, epoch and process."""

import random
from types import SimpleNamespace

import torch
from helpers.command import metrics, succeed

from mmie.training.seeding import EpochSeed


def draw(seed=1, epoch=0, rank=0):
    """Draw from torch and Python at the start of an epoch."""
    trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank)
    EpochSeed(seed).on_train_epoch_start(trainer, None)
    return torch.rand(()).item(), random.random()


def test_numbers_depend_on_the_seed_the_epoch_and_the_process_alone():
    first = draw()
    torch.rand(7)
    random.random()
    assert draw() == first
    for other in (draw(seed=2), draw(epoch=1), draw(rank=1)):
        assert not set(other) & set(first)


def test_another_seed_gives_another_fit(fitted_runs, tmp_path):
    config = f"--config={fitted_runs / 'ner' / 'config.yaml'}"
    other = [f"--run_dir={tmp_path / 'other'}", "--seed_everything=7", "--trainer.max_epochs=1"]
    succeed("fit", config, *other)
    losses = []
    for run_dir in (fitted_runs / "ner", tmp_path / "other"):
        losses.append(metrics(run_dir)["fit"]["epochs"][0]["train/loss"])
    assert losses[0] != losses[1]
