"""The feature cache: its rows, and interruptions, damage and other processes."""

import errno
import itertools
import json
import multiprocessing
import os
import pickle
import random
import warnings
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from mmie.training.features import cache as cache_module
from mmie.training.features import shards as shards_module
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


def shard_files(cache: FeatureCache) -> list[Path]:
    """Return the shards of a cache in the order of their names."""
    return sorted(cache.folder.glob("*.safetensors"))


def rows_are_right(cache: FeatureCache) -> bool:
    """Tell whether a cache returns the rows of the first ten numbers."""
    return torch.equal(cache.rows(list(sources(10))), compute(range(10)).half())


def test_a_flipped_bit_or_a_cut_is_detected_at_any_place(tmp_path, rounds):
    cache = filled_cache(tmp_path)
    (file,) = shard_files(cache)
    content = file.read_bytes()
    generator = random.Random(5)
    for number in range(rounds(60, 5000)):
        place = generator.randrange(len(content))
        changed = bytearray(content)
        changed[place] ^= 1 << generator.randrange(8)
        file.write_bytes(content[:place] if number % 3 == 0 else changed)
        with pytest.warns(UserWarning, match=f"{file.name} is damaged"):
            assert len(FeatureCache(tmp_path, "rows", IDENTITY)) == 0
        assert not file.exists()


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_shard_that_cannot_be_read_is_left_and_named(tmp_path, monkeypatch, number, small_shards):
    files = shard_files(filled_cache(tmp_path))
    unreadable = files[0]
    content = unreadable.read_bytes()
    status = unreadable.stat()
    digest_file = shards_module.digest_file

    def fail_for_one(file):
        if file == unreadable:
            raise OSError(number, os.strerror(number), str(file))
        return digest_file(file)

    monkeypatch.setattr(shards_module, "digest_file", fail_for_one)
    with pytest.warns(
        UserWarning, match=f"left as they are.*{os.strerror(number)}.*{files[0].name}"
    ):
        cache = FeatureCache(tmp_path, "rows", IDENTITY)
    assert 0 < len(cache) < 10
    cache.fill(sources(10), list, compute, batch_size=3)
    assert rows_are_right(cache)
    assert unreadable.read_bytes() == content
    assert (unreadable.stat().st_ino, unreadable.stat().st_mtime_ns) == (
        status.st_ino,
        status.st_mtime_ns,
    )
    # the rows were computed beside it
    with pytest.warns(UserWarning, match="left as they are"):
        assert len(FeatureCache(tmp_path, "rows", IDENTITY)) == 10
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert rows_are_right(FeatureCache(tmp_path, "rows", IDENTITY))


def test_too_many_open_files_are_no_damage(tmp_path, monkeypatch):
    (file,) = shard_files(filled_cache(tmp_path))
    # safetensors raises this for every file that it cannot open
    monkeypatch.setattr(
        shards_module,
        "safe_open",
        lambda *_, **__: (_ for _ in ()).throw(FileNotFoundError("No such file")),
    )
    with pytest.warns(UserWarning, match=f"cannot be opened.*{file.name}"):
        assert len(FeatureCache(tmp_path, "rows", IDENTITY)) == 0
    assert file.exists()


def test_shards_of_version_0_1_are_read(tmp_path):
    cache = filled_cache(tmp_path)
    (file,) = shard_files(cache)
    content = save(load_file(file), {"keys": json.dumps(list(sources(10)))})
    file.unlink()
    (cache.folder / f"{shards_module.hashlib.sha256(content).hexdigest()}.safetensors").write_bytes(
        content
    )
    assert rows_are_right(FeatureCache(tmp_path, "rows", IDENTITY))


def test_files_of_others_are_left_and_named(tmp_path):
    cache = filled_cache(tmp_path)
    (file,) = shard_files(cache)
    other = FeatureCache(tmp_path, "rows", {"of": "letters"})
    other.add(["key0"], torch.ones(1, WIDTH))
    (foreign,) = shard_files(other)
    foreign.rename(cache.folder / foreign.name)
    copy = cache.folder / "a copy.safetensors"
    copy.write_bytes(file.read_bytes())
    (cache.folder / ".0.partial.safetensors").write_bytes(b"half")
    with pytest.warns(UserWarning, match="left as they are") as caught:
        again = FeatureCache(tmp_path, "rows", IDENTITY)
    assert rows_are_right(again)
    messages = sorted(str(warning.message) for warning in caught)
    assert len(messages) == 2
    assert all(name in "".join(messages) for name in (foreign.name, copy.name))
    assert copy.exists()
    assert (cache.folder / foreign.name).exists()


def test_modes_follow_the_umask(tmp_path):
    mask = os.umask(0o002)
    try:
        cache = filled_cache(tmp_path)
    finally:
        os.umask(mask)
    assert {oct(file.stat().st_mode & 0o777) for file in cache.folder.iterdir()} == {"0o664"}
    assert oct(cache.folder.stat().st_mode & 0o777) == "0o775"


@pytest.fixture
def forbid_writing(monkeypatch):
    """Function after whose call no folder and no file can be written, as on a read-only disk."""

    def fail(path, *_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))

    def forbid():
        for name in ("mkdir", "touch", "write_text", "write_bytes", "unlink"):
            monkeypatch.setattr(Path, name, fail)

    return forbid


def test_a_filled_cache_needs_no_right_to_write(tmp_path, forbid_writing):
    filled_cache(tmp_path)
    forbid_writing()
    cache = FeatureCache(tmp_path, "rows", IDENTITY)
    cache.fill(sources(10), list, lambda _: pytest.fail("a row was computed"))
    assert rows_are_right(cache)


@pytest.mark.parametrize("count", [0, 10])
def test_missing_rows_of_a_read_only_cache_are_an_error_before_any_is_computed(
    tmp_path, forbid_writing, count
):
    if count:
        filled_cache(tmp_path, count)
    forbid_writing()
    cache = FeatureCache(tmp_path, "rows", IDENTITY)
    message = r"cannot be written \(Read-only file system\): name another folder by --feature_store"
    with pytest.raises(FeatureCacheError, match=message):
        cache.fill(sources(11), list, lambda _: pytest.fail("a row was computed"))


def test_a_damaged_shard_of_a_read_only_cache_is_not_used(tmp_path, forbid_writing):
    (file,) = shard_files(filled_cache(tmp_path))
    file.write_bytes(flip_bit(file.read_bytes()))
    forbid_writing()
    with pytest.warns(UserWarning, match="is damaged"):
        cache = FeatureCache(tmp_path, "rows", IDENTITY)
    assert len(cache) == 0


def test_a_cache_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FeatureCacheError, match=r"Not a directory.*--feature_store"):
        FeatureCache(tmp_path / "file" / "x", "rows", IDENTITY)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO])
def test_an_error_of_the_disk_names_the_folder(tmp_path, monkeypatch, number):
    cache = filled_cache(tmp_path)

    def fail(path, content):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(FeatureCacheError, match=f"{cache.folder}: cannot be written"):
        cache.add(["key10"], torch.ones(1, WIDTH))
    assert len(shard_files(cache)) == 1
    assert list(cache.folder.glob(".*")) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_rights_that_are_missing_are_no_damage(tmp_path):
    cache = filled_cache(tmp_path)
    (file,) = shard_files(cache)
    file.chmod(0)
    with pytest.warns(UserWarning, match="Permission denied"):
        assert len(FeatureCache(tmp_path, "rows", IDENTITY)) == 0
    file.chmod(0o600)
    cache.folder.chmod(0o500)
    assert rows_are_right(FeatureCache(tmp_path, "rows", IDENTITY))
    cache.folder.chmod(0)
    with pytest.raises(FeatureCacheError, match="cannot be read"):
        FeatureCache(tmp_path, "rows", IDENTITY)
    cache.folder.chmod(0o700)


def test_a_worker_reports_a_store_that_was_removed(tmp_path):
    cache = filled_cache(tmp_path)
    content = pickle.dumps(cache)
    for file in shard_files(cache):
        file.unlink()
    with pytest.raises(FeatureCacheError, match="cannot be read any more"):
        pickle.loads(content)
