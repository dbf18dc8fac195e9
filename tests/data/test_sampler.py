"""Batches of posts of like length: what every instance gets in an epoch, on one rank and on several."""

import itertools
import random
from collections import Counter

import pytest
import torch
import torch.distributed as dist
from helpers.methods import build_trainer
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from mmie.data.sampler import BucketSampler

GRID = list(itertools.product([1, 2, 3, 5, 8, 17, 40], [1, 3, 4, 16], [1, 2, 3, 8]))


def lengths_of(count: int, seed: int = 0) -> list[int]:
    numbers = random.Random(seed)
    return [numbers.randint(5, 60) for _ in range(count)]


def padding(lengths, batches) -> float:
    """Share of a padded batch that is padding, over all batches."""
    padded = sum(len(batch) * max(lengths[n] for n in batch) for batch in batches)
    return 1 - sum(lengths[n] for batch in batches for n in batch) / padded


def batches_of(sampler: BucketSampler) -> list[list[int]]:
    """Instance numbers of every batch."""
    return [numbers for _, numbers in sampler]


def all_ranks(
    lengths, batch_size: int, world: int, shuffle: bool, **settings
) -> list[list[list[int]]]:
    """Batches of every rank."""
    ranks = [
        BucketSampler(lengths, batch_size, shuffle, rank=rank, num_replicas=world, **settings)
        for rank in range(world)
    ]
    batches = [batches_of(rank) for rank in ranks]
    assert [len(rank) for rank in ranks] == [len(own) for own in batches]
    return batches


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("count", [1, 7, 64, 501])
def test_one_rank_gets_every_instance_once(count, shuffle):
    sampler = BucketSampler(lengths_of(count), 8, shuffle)
    batches = batches_of(sampler)
    assert sorted(n for batch in batches for n in batch) == list(range(count))
    assert len(sampler) == len(batches) == -(-count // 8)
    assert all(len(batch) <= 8 for batch in batches)
    assert sum(len(batch) < 8 for batch in batches) <= 1


def test_numbers_are_plain_integers():
    assert all(
        type(n) is int for batch in batches_of(BucketSampler(lengths_of(9), 4, True)) for n in batch
    )


def test_every_epoch_has_its_own_order_and_company():
    sampler = BucketSampler(lengths_of(1000), 8, True, seed=3)
    first = batches_of(sampler)
    assert batches_of(sampler) == first
    sampler.set_epoch(1)
    second = batches_of(sampler)
    assert sorted(itertools.chain(*second)) == sorted(itertools.chain(*first))
    assert not {frozenset(batch) for batch in first} & {frozenset(batch) for batch in second}
    sampler.set_epoch(0)
    assert batches_of(sampler) == first


def test_the_seed_decides_the_order():
    lengths = lengths_of(200)
    orders = [batches_of(BucketSampler(lengths, 8, True, seed=seed)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_training_does_not_go_by_length():
    """Batches come in a random order, not short ones first."""
    lengths = lengths_of(640)
    batches = batches_of(BucketSampler(lengths, 8, True))
    longest = torch.tensor([max(lengths[n] for n in batch) for batch in batches], dtype=torch.float)
    places = torch.arange(len(longest), dtype=torch.float)
    correlation = torch.corrcoef(torch.stack([longest, places]))[0, 1]
    assert abs(correlation) < 0.3


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_of_like_length(shuffle):
    lengths = lengths_of(2000)
    order = random.Random(0).sample(range(2000), 2000)
    at_random = padding(lengths, [order[start : start + 16] for start in range(0, 2000, 16)])
    assert at_random > 0.35
    assert padding(lengths, batches_of(BucketSampler(lengths, 16, shuffle))) < 0.05


def test_a_pool_of_one_batch_is_a_random_batch():
    lengths = lengths_of(2000)
    assert padding(lengths, batches_of(BucketSampler(lengths, 16, True, pool=1))) > 0.35


def test_evaluation_starts_with_the_longest_whatever_the_epoch():
    lengths = lengths_of(100)
    sampler = BucketSampler(lengths, 8, False)
    batches = batches_of(sampler)
    assert [lengths[n] for batch in batches for n in batch] == sorted(lengths, reverse=True)
    sampler.set_epoch(5)
    assert batches_of(sampler) == batches


@pytest.mark.parametrize(("count", "batch_size", "world"), GRID)
def test_evaluation_counts_every_instance_once(count, batch_size, world):
    ranks = all_ranks(lengths_of(count), batch_size, world, shuffle=False)
    assert len({len(batches) for batches in ranks}) == 1
    assert [len(batch) for batch in ranks[0]] == [len(batch) for batch in ranks[-1]]
    numbers = [n for batches in ranks for batch in batches for n in batch]
    assert sorted(n for n in numbers if n >= 0) == list(range(count))
    copies = [-1 - n for n in numbers if n < 0]
    assert len(copies) == -count % world
    assert all(0 <= copy < count for copy in copies)


@pytest.mark.parametrize(("count", "batch_size", "world"), GRID)
def test_training_fills_up_with_as_few_copies_as_can_be(count, batch_size, world):
    ranks = all_ranks(lengths_of(count), batch_size, world, shuffle=True)
    assert len({len(batches) for batches in ranks}) == 1
    assert all(0 < len(batch) <= batch_size for batches in ranks for batch in batches)
    seen = Counter(n for batches in ranks for batch in batches for n in batch)
    assert set(seen) == set(range(count))
    assert sum(seen.values()) == count + -count % world
    assert max(seen.values()) - min(seen.values()) <= 1


def test_the_ranks_of_a_step_get_instances_of_like_length():
    lengths = lengths_of(1000)
    for shuffle in (True, False):
        ranks = all_ranks(lengths, 8, 4, shuffle)
        steps = [
            [n if n >= 0 else -1 - n for batch in step for n in batch]
            for step in zip(*ranks, strict=True)
        ]
        assert padding(lengths, steps) < 0.1


def test_copies_are_of_the_length_of_their_step():
    lengths = [100, *[5] * 8]
    ranks = all_ranks(lengths, 2, 2, shuffle=False)
    assert [[lengths[n if n >= 0 else -1 - n] for n in batches[-1]] for batches in ranks] == [
        [5],
        [5],
    ]


def test_every_rank_has_its_own_part():
    lengths = lengths_of(64)
    ranks = all_ranks(lengths, 4, 4, shuffle=True, seed=7)
    assert all(
        not set(a).intersection(b)
        for step in zip(*ranks, strict=True)
        for a, b in itertools.combinations(step, 2)
    )


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_rank_that_is_none_is_refused(rank):
    with pytest.raises(ValueError, match="rank"):
        BucketSampler(lengths_of(8), 2, True, rank=rank, num_replicas=2)


class Numbers(Dataset):
    """The numbers that it is asked for."""

    def __init__(self):
        self.asked = []

    def __len__(self):
        return 20

    def __getitem__(self, draw):
        epoch, numbers = draw
        self.asked.append((epoch, numbers))
        return torch.ones(len(numbers), 1)


class Linear(LightningModule):
    """Something to train."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, number):
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Data(LightningDataModule):
    """The numbers under the sampler."""

    def __init__(self):
        super().__init__()
        self.numbers = Numbers()

    def train_dataloader(self):
        return DataLoader(
            self.numbers, sampler=BucketSampler(lengths_of(20), 4, True), batch_size=None
        )


def test_lightning_sets_the_epoch(tmp_path):
    data = Data()
    build_trainer(tmp_path, max_epochs=3, accelerator="cpu").fit(Linear(), datamodule=data)
    epochs = [data.numbers.asked[start : start + 5] for start in range(0, 15, 5)]
    for epoch, asked in enumerate(epochs):
        sampler = BucketSampler(lengths_of(20), 4, True)
        sampler.set_epoch(epoch)
        assert asked == list(sampler)
        assert {told for told, _ in asked} == {epoch}


def test_lightning_leaves_it_in_place():
    """Under DDP Lightning puts its own sampler wherever there is no `DistributedSampler`."""
    assert isinstance(BucketSampler(lengths_of(20), 4, True), DistributedSampler)


def test_the_running_processes_are_the_ranks():
    """Without arguments it is what torch.distributed says, here a group without the other processes."""
    dist.init_process_group("fake", store=dist.HashStore(), rank=2, world_size=3)
    try:
        sampler = BucketSampler(lengths_of(20), 4, False)
    finally:
        dist.destroy_process_group()
    assert batches_of(sampler) == batches_of(
        BucketSampler(lengths_of(20), 4, False, rank=2, num_replicas=3)
    )
