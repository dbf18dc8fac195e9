"""The row store: what is kept, and what interruptions, damage and other processes do to it."""

import itertools
import multiprocessing
import pickle

import pytest
import torch

from mmie.training.features import cache as feature_store
from mmie.training.features.cache import FeatureCache, FeatureCacheError

WIDTH = 5


def row_of(number: int) -> torch.Tensor:
    return torch.arange(WIDTH) * 0.25 + number


def compute(numbers) -> torch.Tensor:
    return torch.stack([row_of(number) for number in numbers])


def sources(count: int) -> dict[str, int]:
    return {f"key{number}": number for number in range(count)}


def filled(root, count: int = 10, **settings) -> FeatureCache:
    store = FeatureCache(root, "rows", {"of": "numbers"}, **settings)
    store.fill(sources(count), list, compute, batch_size=3)
    return store


@pytest.fixture
def small_shards(monkeypatch):
    monkeypatch.setattr(feature_store, "_SHARD_BYTES", 2 * 3 * WIDTH)  # a batch each


def test_rows_come_back_by_key_and_0_for_none(tmp_path):
    rows = filled(tmp_path).rows(["key7", None, "key0", "key7"])
    expected = torch.stack([row_of(7), torch.zeros(WIDTH), row_of(0), row_of(7)])
    assert rows.dtype == torch.float16
    assert torch.equal(rows, expected.half())
    with pytest.raises(KeyError):
        filled(tmp_path).rows(["key10"])


def test_what_is_there_is_not_computed_again(tmp_path, small_shards):
    filled(tmp_path, 4)
    asked = []
    store = FeatureCache(tmp_path, "rows", {"of": "numbers"})
    store.fill(
        sources(9), list, lambda numbers: asked.extend(numbers) or compute(numbers), batch_size=2
    )
    assert asked == [4, 5, 6, 7, 8]
    assert torch.equal(store.rows(list(sources(9))), compute(range(9)).half())
    assert len(list(store.folder.glob("*.safetensors"))) > 2


@pytest.mark.parametrize("change", [{"identity": {"of": "letters"}}, {"dtype": torch.float32}])
def test_another_identity_or_type_is_another_store(tmp_path, change):
    filled(tmp_path)
    assert len(FeatureCache(tmp_path, "rows", **{"identity": {"of": "numbers"}, **change})) == 0
    assert len(FeatureCache(tmp_path, "rows", {"of": "numbers"})) == 10


def test_an_interrupted_build_goes_on_where_it_was(tmp_path, small_shards):
    calls = itertools.count()

    def fail_late(numbers):
        if next(calls) == 2:
            raise KeyboardInterrupt
        return compute(numbers)

    store = FeatureCache(tmp_path, "rows", {"of": "numbers"})
    with pytest.raises(KeyboardInterrupt):
        store.fill(sources(10), list, fail_late, batch_size=3)
    assert list(store.folder.glob("*.partial")) == []
    asked = []
    again = FeatureCache(tmp_path, "rows", {"of": "numbers"})
    again.fill(
        sources(10), list, lambda numbers: asked.extend(numbers) or compute(numbers), batch_size=3
    )
    assert asked == [6, 7, 8, 9]


def flip(content: bytes) -> bytes:
    return content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]


@pytest.mark.parametrize(
    "damage",
    [flip, lambda content: content[:-1], lambda _: b"", lambda _: b"junk" * 100],
    ids=["flipped bit", "cut short", "empty", "something else"],
)
def test_a_damaged_file_is_noticed_and_computed_again(tmp_path, small_shards, damage):
    file = sorted(filled(tmp_path).folder.glob("*.safetensors"))[1]
    file.write_bytes(damage(file.read_bytes()))
    with pytest.warns(UserWarning, match=f"{file.name} is damaged .* computed again"):
        store = FeatureCache(tmp_path, "rows", {"of": "numbers"})
    assert 0 < len(store) < 10
    assert torch.equal(filled(tmp_path).rows(list(sources(10))), compute(range(10)).half())


def test_a_store_sent_to_a_worker_maps_the_files_there(tmp_path):
    store = filled(tmp_path, 1000)
    content = pickle.dumps(store)
    assert len(content) < 2000
    assert torch.equal(pickle.loads(content).rows(["key3"]), store.rows(["key3"]))


def fill_in_process(root, start) -> None:
    store = FeatureCache(root, "rows", {"of": "numbers"})
    start.wait()
    store.fill(sources(60), list, compute, batch_size=3)
    assert torch.equal(store.rows(list(sources(60))), compute(range(60)).half())


def test_processes_that_build_at_once_do_not_harm_each_other(tmp_path, small_shards):
    context = multiprocessing.get_context("fork")
    start = context.Barrier(3)
    processes = [context.Process(target=fill_in_process, args=(tmp_path, start)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    store = FeatureCache(tmp_path, "rows", {"of": "numbers"})
    assert torch.equal(store.rows(list(sources(60))), compute(range(60)).half())


def test_rows_that_do_not_fit_the_type_are_refused(tmp_path):
    store = FeatureCache(tmp_path, "rows", {})
    with pytest.raises(
        FeatureCacheError, match=r"do not fit torch\.float16: set feature_store: null"
    ):
        store.add(["a"], torch.tensor([[1e6]]))
    assert len(store) == len(FeatureCache(tmp_path, "rows", {})) == 0


def test_a_full_disk_is_refused_before_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(feature_store, "_SPARE_BYTES", 2**60)
    with pytest.raises(FeatureCacheError, match="GiB are free on the disk, too little"):
        FeatureCache(tmp_path, "rows", {}).add(["a"], torch.ones(1, 1))
