"""Batches of posts of like length, the same for every rank count where it matters."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from mmie.utils.distributed import rank_and_world_size

Draw = tuple[int, list[int]]
"""What a batch is made from: the epoch, and the numbers of the batch's instances."""


class BucketSampler(DistributedSampler[Draw]):
    """Lists of instance numbers, one list a batch, each of instances of like length, with the epoch before each.

    The epoch goes to the data set, so that what is drawn anew in every epoch does not depend on worker processes.

    In training, instances are shuffled, cut into pools of ``pool`` batches, sorted by length within a pool, and the
    batches shuffled: little padding, and, in a split of several pools, still other company for every instance in
    every epoch. In evaluation they are sorted by length, longest first, so that too little memory shows at once.

    Every rank gets equally many batches, as DDP demands. What is missing is filled with copies: in training with
    ordinary instances, in evaluation with numbers below 0 (``-1 - number``), which stand for a copy that must not be
    counted. It is a ``DistributedSampler`` so that Lightning leaves it in place.

    Args:
        lengths: Length of every instance.
        batch_size: Instances per batch and rank.
        shuffle: Training order; else evaluation.
        seed: Seed of the order; the epoch is added to it.
        pool: Batches that are sorted together.
        rank: This process; by default what torch.distributed says, or 0.
        num_replicas: Number of processes; by default what torch.distributed says, or 1.
    """

    def __init__(
        self,
        lengths: Sequence[int],
        batch_size: int,
        shuffle: bool,
        seed: int = 0,
        pool: int = 50,
        rank: int | None = None,
        num_replicas: int | None = None,
    ) -> None:
        own, world = rank_and_world_size()
        place = own if rank is None else rank
        super().__init__(_Sized(len(lengths)), num_replicas or world, place, shuffle, seed)
        self.lengths = torch.tensor(lengths, dtype=torch.long)
        self.batch_size = batch_size
        self.pool = pool

    def __len__(self) -> int:
        """Batches of this rank."""
        per_step = self.batch_size * self.num_replicas
        return -(-len(self.lengths) // per_step)

    def __iter__(self) -> Iterator[Draw]:
        """Batches of this rank, in this epoch."""
        order = (
            self._training_order()
            if self.shuffle
            else torch.argsort(self.lengths, descending=True, stable=True)
        )
        for step in self._steps(order):
            yield self.epoch, step[self.rank :: self.num_replicas].tolist()

    def _training_order(self) -> Tensor:
        """A permutation of all instances, sorted by length within pools."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.lengths), generator=generator)
        pools = order.split(self.pool * self.batch_size * self.num_replicas)
        return torch.cat([pool[torch.argsort(self.lengths[pool], stable=True)] for pool in pools])

    def _steps(self, order: Tensor) -> list[Tensor]:
        """Instances of every step, of all ranks together; the ranks deal them out in turn."""
        missing = torch.arange(-len(order) % self.num_replicas) % len(order)
        alike = order.flip(0)[missing]  # of the last step's length
        copies = alike if self.shuffle else -1 - alike
        steps = list(torch.cat([order, copies]).split(self.batch_size * self.num_replicas))
        if not self.shuffle:
            return steps
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return [steps[place] for place in torch.randperm(len(steps), generator=generator).tolist()]


class _Sized(Dataset[Draw]):
    """A length, which is all that the base class asks for."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length
