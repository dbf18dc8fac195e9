"""Random numbers of training that depend on the seed, the epoch and the process alone."""

import random

import torch
from lightning.pytorch import Callback, LightningModule, Trainer


class EpochSeed(Callback):
    """Seeds what training draws, such as dropout, anew in every epoch.

    A fit that continues a checkpoint then draws what it would have drawn without the interruption,
    and so does one that finds its feature cache filled or reads ahead in worker processes.

    Args:
        seed: Seed of the fit.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Seed torch, on all devices, and Python."""
        state = f"{self.seed} {trainer.current_epoch} {trainer.global_rank}"
        epoch_seed = random.Random(state).getrandbits(63)
        torch.manual_seed(epoch_seed)
        random.seed(epoch_seed)
