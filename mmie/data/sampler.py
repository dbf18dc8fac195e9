"""Sampling of batches of similar length, the same for every number of ranks where it matters."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset, DistributedSampler

from mmie.utils.distributed import rank_and_world_size


@dataclass(frozen=True, slots=True)
class Draw:
    """Instances of a batch.

    Attributes:
        epoch: The epoch, so that what is drawn anew in every epoch does not depend on worker
            processes.
        indices: Indices of the instances in their split.
        counted: False for an instance that is a copy and must not count in scores.
    """

    epoch: int
    indices: tuple[int, ...]
    counted: tuple[bool, ...]


class BucketSampler(DistributedSampler[Draw]):
    """Sampler of batches of instances of similar length.

    In training, instances are shuffled, cut into pools of ``pool`` batches and sorted by length
    within a pool, and the batches are shuffled. There is little padding, and in a split of several
    pools every instance shares its batch with others in every epoch. In evaluation they are sorted
    by length, the longest first, so that too little memory shows at once.

    Every rank receives the same number of batches, as DDP requires. Copies of instances fill the
    gaps. They count in training and do not count in evaluation. The class is a
    ``DistributedSampler`` so that Lightning does not replace it.

    Args:
        lengths: Length of every instance.
        batch_size: Instances per batch and rank.
        shuffle: Whether to sample for training instead of evaluation.
        seed: Seed of the order, to which the epoch is added.
        pool: Number of batches that are sorted together.
        rank: This process; by default that of torch.distributed, or 0.
        num_replicas: Number of processes; by default that of torch.distributed, or 1.
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
        own_rank, world_size = rank_and_world_size()
        if rank is None:
            rank = own_rank
        super().__init__(_Sized(len(lengths)), num_replicas or world_size, rank, shuffle, seed)
        self.lengths = torch.tensor(lengths, dtype=torch.long)
        self.batch_size = batch_size
        self.pool = pool

    def __len__(self) -> int:
        """Return the number of batches of this rank."""
        per_step = self.batch_size * self.num_replicas
        return -(-len(self.lengths) // per_step)

    def first_indices(self, num_batches: int, epochs: Iterable[int]) -> list[int]:
        """Return the indices of the instances that the ranks read at the start of some epochs.

        Args:
            num_batches: Number of batches that each rank reads in an epoch.
            epochs: The epochs.
        """
        current = self.epoch
        read: set[int] = set()
        for epoch in epochs:
            self.set_epoch(epoch)
            indices = self._order_with_copies()
            for step in self._steps(len(indices))[:num_batches]:
                read.update(indices[step].tolist())
            if len(read) == len(self.lengths):
                break
        self.set_epoch(current)
        return sorted(read)

    def __iter__(self) -> Iterator[Draw]:
        """Yield the batches of this rank in the current epoch.

        The batches of all ranks in one step are consecutive in the order of instances, and the
        ranks take turns.
        """
        indices = self._order_with_copies()
        counted = torch.ones(len(indices), dtype=torch.bool)
        counted[len(self.lengths) :] = self.shuffle
        for step in self._steps(len(indices)):
            own = step[self.rank :: self.num_replicas]
            yield Draw(self.epoch, tuple(indices[own].tolist()), tuple(counted[own].tolist()))

    def _order_with_copies(self) -> Tensor:
        """Order all instances and the copies that fill the last step, (instances and copies,)."""
        order = self._order()
        num_copies = -len(order) % self.num_replicas
        # the last step is filled with copies of its own length
        copies = order.flip(0)[torch.arange(num_copies) % len(order)]
        return torch.cat([order, copies])

    def _order(self) -> Tensor:
        """Order all instances, (instances,).

        In training they are permuted at random and sorted by length within pools. In evaluation
        they are sorted by length, the longest first.
        """
        if not self.shuffle:
            return torch.argsort(self.lengths, descending=True, stable=True)
        order = torch.randperm(len(self.lengths), generator=self._generator())
        pools: list[Tensor] = []
        for pool in order.split(self.pool * self.batch_size * self.num_replicas):
            pools.append(pool[torch.argsort(self.lengths[pool], stable=True)])
        return torch.cat(pools)

    def _steps(self, count: int) -> list[Tensor]:
        """Split positions in the order of instances into the steps of all ranks together.

        Args:
            count: Number of instances, copies included.

        Returns:
            (instances of a step,) each, in random order in training.
        """
        steps = list(torch.arange(count).split(self.batch_size * self.num_replicas))
        if not self.shuffle:
            return steps
        order = torch.randperm(len(steps), generator=self._generator())
        return [steps[index] for index in order.tolist()]

    def _generator(self) -> torch.Generator:
        """Return a source of random numbers that depends on the seed and the epoch alone."""
        return torch.Generator().manual_seed(self.seed + self.epoch)


class _Sized(Dataset[Draw]):
    """Data set that has nothing but a length, for the base class."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length
