"""The feature cache: its rows, and interruptions, damage and other processes."""

import itertools
import multiprocessing
import pickle

import pytest
import torch

from mmie.training.features import cache as cache_module
from mmie.training.features.cache import FeatureCache, FeatureCacheError

WIDTH = 5
IDENTITY = {"of": "numbers"}


def row_of(number: int) -> torch.Tensor:
    """Return the row of a number, (width,)."""
    return torch.arange(WIDTH) * 0.25 + number


def compute(numbers) -> torch.Tensor:
    """Compute the rows of numbers, (numbers, width)."""
    return torch.stack([row_of(number) for number in numbers])


class RecordingCompute:
    """`compute` with a list of all numbers that it was called with."""

    def __init__(self) -> None:
        self.numbers: list[int] = []

    def __call__(self, numbers) -> torch.Tensor:
        self.numbers += numbers
        return compute(numbers)


def sources(count: int) -> dict[str, int]:
    """Return the first numbers by key."""
    return {f"key{number}": number for number in range(count)}


def filled_cache(root, count: int = 10) -> FeatureCache:
    """Fill a cache with the rows of the first numbers."""
    cache = FeatureCache(root, "rows", IDENTITY)
    cache.fill(sources(count), list, compute, batch_size=3)
    return cache


@pytest.fixture
def small_shards(monkeypatch):
    """Write every batch of three rows as a shard."""
    monkeypatch.setattr(cache_module, "_SHARD_BYTES", 2 * 3 * WIDTH)


def test_rows_are_returned_by_key_and_are_0_for_none(tmp_path):
    rows = filled_cache(tmp_path).rows(["key7", None, "key0", "key7"])
    expected = torch.stack([row_of(7), torch.zeros(WIDTH), row_of(0), row_of(7)])
    assert rows.dtype == torch.float16
    assert torch.equal(rows, expected.half())
    with pytest.raises(KeyError):
        filled_cache(tmp_path).rows(["key10"])


def test_an_empty_cache_has_no_width(tmp_path):
    with pytest.raises(FeatureCacheError, match="holds no rows yet"):
        FeatureCache(tmp_path, "rows", IDENTITY).rows([None])


def test_existing_rows_are_not_computed_again(tmp_path, small_shards):
    filled_cache(tmp_path, 4)
    record = RecordingCompute()
    cache = FeatureCache(tmp_path, "rows", IDENTITY)
    cache.fill(sources(9), list, record, batch_size=2)
    assert record.numbers == [4, 5, 6, 7, 8]
    assert torch.equal(cache.rows(list(sources(9))), compute(range(9)).half())
    assert len(list(cache.folder.glob("*.safetensors"))) > 2


@pytest.mark.parametrize("change", [{"identity": {"of": "letters"}}, {"dtype": torch.float32}])
def test_another_identity_or_type_is_another_cache(tmp_path, change):
    filled_cache(tmp_path)
    assert len(FeatureCache(tmp_path, "rows", **{"identity": IDENTITY, **change})) == 0
    assert len(FeatureCache(tmp_path, "rows", IDENTITY)) == 10


def test_an_interrupted_fill_continues_where_it_stopped(tmp_path, small_shards):
    calls = itertools.count()

    def interrupt_third_batch(numbers):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return compute(numbers)

    cache = FeatureCache(tmp_path, "rows", IDENTITY)
    with pytest.raises(KeyboardInterrupt):
        cache.fill(sources(10), list, interrupt_third_batch, batch_size=3)
    assert list(cache.folder.glob("*.partial")) == []
    record = RecordingCompute()
    again = FeatureCache(tmp_path, "rows", IDENTITY)
    again.fill(sources(10), list, record, batch_size=3)
    assert record.numbers == [6, 7, 8, 9]


def flip_bit(content: bytes) -> bytes:
    """Flip a bit of the third byte from the end."""
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize(
    "damage",
    [flip_bit, lambda content: content[:-1], lambda _: b"", lambda _: b"junk" * 100],
    ids=["flipped bit", "cut short", "empty", "something else"],
)
def test_a_damaged_shard_is_reported_and_computed_again(tmp_path, small_shards, damage):
    file = sorted(filled_cache(tmp_path).folder.glob("*.safetensors"))[1]
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match=f"{file.name} is damaged .* computed again"):
        cache = FeatureCache(tmp_path, "rows", IDENTITY)
    assert 0 < len(cache) < 10
    assert torch.equal(filled_cache(tmp_path).rows(list(sources(10))), compute(range(10)).half())


def test_a_cache_is_sent_to_a_worker_without_its_rows(tmp_path):
    cache = filled_cache(tmp_path, 1000)
    content = pickle.dumps(cache)
    assert len(content) < 2000
    assert torch.equal(pickle.loads(content).rows(["key3"]), cache.rows(["key3"]))


def fill_in_process(root, barrier) -> None:
    """Fill a cache at the same time as other processes."""
    cache = FeatureCache(root, "rows", IDENTITY)
    barrier.wait()
    cache.fill(sources(60), list, compute, batch_size=3)
    assert torch.equal(cache.rows(list(sources(60))), compute(range(60)).half())


@pytest.mark.slow
def test_several_processes_can_fill_one_cache(tmp_path, small_shards):
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(3)
    arguments = (tmp_path, barrier)
    processes = [context.Process(target=fill_in_process, args=arguments) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    cache = FeatureCache(tmp_path, "rows", IDENTITY)
    assert torch.equal(cache.rows(list(sources(60))), compute(range(60)).half())


def test_rows_out_of_the_range_of_the_type_are_refused(tmp_path):
    cache = FeatureCache(tmp_path, "rows", {})
    message = r"do not fit torch\.float16: set feature_store: null"
    with pytest.raises(FeatureCacheError, match=message):
        cache.add(["a"], torch.tensor([[1e6]]))
    assert len(cache) == len(FeatureCache(tmp_path, "rows", {})) == 0


def test_a_cache_leaves_space_on_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_module, "_SPARE_BYTES", 2**60)
    with pytest.raises(FeatureCacheError, match="GiB are free on the disk, too little"):
        FeatureCache(tmp_path, "rows", {}).add(["a"], torch.ones(1, 1))
