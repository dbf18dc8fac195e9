"""Batches of posts of similar length, on one rank and on several."""

import itertools
import pickle
import random
from collections import Counter

import pytest
import torch
import torch.distributed as dist
from helpers.methods import build_trainer
from lightning.pytorch import LightningDataModule, LightningModule
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from mmie.data.sampler import BucketSampler, Draw

GRID = list(itertools.product([1, 2, 3, 5, 8, 17, 40], [1, 3, 4, 16], [1, 2, 3, 8]))


def lengths_of(count: int, seed: int = 0) -> list[int]:
    numbers = random.Random(seed)
    return [numbers.randint(5, 60) for _ in range(count)]


def padding(lengths, batches) -> float:
    """Share of a padded batch that is padding, over all batches."""
    padded = sum(len(batch) * max(lengths[n] for n in batch) for batch in batches)
    return 1 - sum(lengths[n] for batch in batches for n in batch) / padded


def batches_of(sampler: BucketSampler) -> list[list[int]]:
    """Indices of every batch."""
    return [list(draw.indices) for draw in sampler]


def all_ranks(lengths, batch_size: int, world: int, shuffle: bool, **settings) -> list[list[Draw]]:
    """Draws of every rank."""
    ranks = [
        BucketSampler(lengths, batch_size, shuffle, rank=rank, num_replicas=world, **settings)
        for rank in range(world)
    ]
    draws = [list(rank) for rank in ranks]
    assert [len(rank) for rank in ranks] == [len(own) for own in draws]
    return draws


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("count", [1, 7, 64, 501])
def test_one_rank_gets_every_instance_once(count, shuffle):
    sampler = BucketSampler(lengths_of(count), 8, shuffle)
    batches = batches_of(sampler)
    assert sorted(n for batch in batches for n in batch) == list(range(count))
    assert len(sampler) == len(batches) == -(-count // 8)
    assert all(len(batch) <= 8 for batch in batches)
    assert sum(len(batch) < 8 for batch in batches) <= 1


def test_draws_hold_plain_values():
    for draw in BucketSampler(lengths_of(9), 4, True):
        assert type(draw.epoch) is int
        assert all(type(index) is int for index in draw.indices)
        assert all(type(is_counted) is bool for is_counted in draw.counted)
        assert len(draw.indices) == len(draw.counted)


def test_draws_can_be_sent_to_workers():
    draw = Draw(3, (2, 0), (True, False))
    assert pickle.loads(pickle.dumps(draw)) == draw


def test_every_epoch_has_its_own_order_and_batches():
    sampler = BucketSampler(lengths_of(1000), 8, True, seed=3)
    first = batches_of(sampler)
    assert batches_of(sampler) == first
    sampler.set_epoch(1)
    second = batches_of(sampler)
    assert sorted(itertools.chain(*second)) == sorted(itertools.chain(*first))
    assert not {frozenset(batch) for batch in first} & {frozenset(batch) for batch in second}
    sampler.set_epoch(0)
    assert batches_of(sampler) == first


def test_order_is_seeded():
    lengths = lengths_of(200)
    orders = [batches_of(BucketSampler(lengths, 8, True, seed=seed)) for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_training_batches_are_not_ordered_by_length():
    lengths = lengths_of(640)
    batches = batches_of(BucketSampler(lengths, 8, True))
    longest = torch.tensor([max(lengths[n] for n in batch) for batch in batches], dtype=torch.float)
    positions = torch.arange(len(longest), dtype=torch.float)
    correlation = torch.corrcoef(torch.stack([longest, positions]))[0, 1]
    assert abs(correlation) < 0.3


@pytest.mark.parametrize("shuffle", [True, False])
def test_batches_are_of_similar_length(shuffle):
    lengths = lengths_of(2000)
    order = random.Random(0).sample(range(2000), 2000)
    at_random = padding(lengths, [order[start : start + 16] for start in range(0, 2000, 16)])
    assert at_random > 0.35
    assert padding(lengths, batches_of(BucketSampler(lengths, 16, shuffle))) < 0.05


def test_a_pool_of_one_batch_gives_random_batches():
    lengths = lengths_of(2000)
    assert padding(lengths, batches_of(BucketSampler(lengths, 16, True, pool=1))) > 0.35


def test_evaluation_starts_with_the_longest_in_every_epoch():
    lengths = lengths_of(100)
    sampler = BucketSampler(lengths, 8, False)
    batches = batches_of(sampler)
    assert [lengths[n] for batch in batches for n in batch] == sorted(lengths, reverse=True)
    sampler.set_epoch(5)
    assert batches_of(sampler) == batches


@pytest.mark.parametrize(("count", "batch_size", "world"), GRID)
def test_evaluation_counts_every_instance_once(count, batch_size, world):
    ranks = all_ranks(lengths_of(count), batch_size, world, shuffle=False)
    assert len({len(draws) for draws in ranks}) == 1
    sizes = [[len(draw.indices) for draw in draws] for draws in ranks]
    assert sizes[0] == sizes[-1]
    counted, copies = [], []
    for draw in itertools.chain(*ranks):
        for index, is_counted in zip(draw.indices, draw.counted, strict=True):
            (counted if is_counted else copies).append(index)
    assert sorted(counted) == list(range(count))
    assert len(copies) == -count % world
    assert all(0 <= copy < count for copy in copies)


@pytest.mark.parametrize(("count", "batch_size", "world"), GRID)
def test_training_has_as_few_copies_as_possible(count, batch_size, world):
    ranks = all_ranks(lengths_of(count), batch_size, world, shuffle=True)
    assert len({len(draws) for draws in ranks}) == 1
    draws = list(itertools.chain(*ranks))
    assert all(0 < len(draw.indices) <= batch_size for draw in draws)
    assert all(all(draw.counted) for draw in draws)
    times = Counter(index for draw in draws for index in draw.indices)
    assert set(times) == set(range(count))
    assert sum(times.values()) == count + -count % world
    assert max(times.values()) - min(times.values()) <= 1


def test_the_ranks_of_a_step_get_instances_of_similar_length():
    lengths = lengths_of(1000)
    for shuffle in (True, False):
        ranks = all_ranks(lengths, 8, 4, shuffle)
        steps = [
            [index for draw in step for index in draw.indices] for step in zip(*ranks, strict=True)
        ]
        assert padding(lengths, steps) < 0.1


def test_copies_are_of_the_length_of_their_step():
    lengths = [100, *[5] * 8]
    ranks = all_ranks(lengths, 2, 2, shuffle=False)
    assert [[lengths[index] for index in draws[-1].indices] for draws in ranks] == [[5], [5]]
    assert [draws[-1].counted for draws in ranks] == [(True,), (False,)]


def test_every_rank_has_its_own_part():
    lengths = lengths_of(64)
    ranks = all_ranks(lengths, 4, 4, shuffle=True, seed=7)
    assert all(
        not set(a.indices).intersection(b.indices)
        for step in zip(*ranks, strict=True)
        for a, b in itertools.combinations(step, 2)
    )


@pytest.mark.parametrize("rank", [-1, 2])
def test_an_invalid_rank_is_rejected(rank):
    with pytest.raises(ValueError, match="rank"):
        BucketSampler(lengths_of(8), 2, True, rank=rank, num_replicas=2)


class RecordingDataset(Dataset):
    """A data set that records the draws it is indexed by."""

    def __init__(self):
        self.draws = []

    def __len__(self):
        return 20

    def __getitem__(self, draw):
        self.draws.append(draw)
        return torch.ones(len(draw.indices), 1)


class Linear(LightningModule):
    """A module to train."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, number):
        return self.layer(batch).sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Data(LightningDataModule):
    """A data module with the sampler."""

    def __init__(self):
        super().__init__()
        self.dataset = RecordingDataset()

    def train_dataloader(self):
        sampler = BucketSampler(lengths_of(20), 4, True)
        return DataLoader(self.dataset, sampler=sampler, batch_size=None)


def test_lightning_sets_the_epoch(tmp_path):
    data = Data()
    build_trainer(tmp_path, max_epochs=3, accelerator="cpu").fit(Linear(), datamodule=data)
    epochs = [data.dataset.draws[start : start + 5] for start in range(0, 15, 5)]
    for epoch, draws in enumerate(epochs):
        sampler = BucketSampler(lengths_of(20), 4, True)
        sampler.set_epoch(epoch)
        assert draws == list(sampler)
        assert {draw.epoch for draw in draws} == {epoch}


def test_lightning_does_not_replace_the_sampler():
    """Under DDP Lightning replaces every sampler that is not a `DistributedSampler`."""
    assert isinstance(BucketSampler(lengths_of(20), 4, True), DistributedSampler)


def test_the_default_rank_is_that_of_torch_distributed():
    """The process group here has no other processes."""
    dist.init_process_group("fake", store=dist.HashStore(), rank=2, world_size=3)
    try:
        sampler = BucketSampler(lengths_of(20), 4, False)
    finally:
        dist.destroy_process_group()
    assert batches_of(sampler) == batches_of(
        BucketSampler(lengths_of(20), 4, False, rank=2, num_replicas=3)
    )


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize("num_replicas", [1, 3])
def test_first_indices_are_those_of_the_first_batches_of_all_ranks(shuffle, num_replicas):
    lengths = [3, 9, 4, 4, 8, 1, 7, 5, 2, 6, 6, 3, 5]
    samplers = []
    for rank in range(num_replicas):
        samplers.append(BucketSampler(lengths, 2, shuffle, 3, 2, rank, num_replicas))
    for num_batches, epochs in ((0, [0]), (1, [0]), (2, [1, 2]), (100, [0]), (1, [])):
        read = set()
        for sampler in samplers:
            for epoch in epochs:
                sampler.set_epoch(epoch)
                for draw in itertools.islice(sampler, num_batches):
                    read.update(draw.indices)
            sampler.set_epoch(7)
        for sampler in samplers:
            assert sampler.first_indices(num_batches, epochs) == sorted(read)
            assert sampler.epoch == 7
