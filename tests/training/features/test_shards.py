"""Shards: what their metadata says, and which files are damaged or those of others."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save

from mmie.training.features.shards import DamagedShard, ForeignShard, read_shard, write_shard

ROWS = torch.arange(6).view(2, 3).half()  # (keys, width)


def write(folder: Path, content: bytes) -> Path:
    """Write bytes under the name of a shard that holds them."""
    file = folder / f"{hashlib.sha256(content).hexdigest()}.safetensors"
    file.write_bytes(content)
    return file


def test_a_shard_says_what_it_holds(tmp_path):
    file = write_shard(tmp_path, ["a", "b"], ROWS, "numbers")
    assert file.stem == hashlib.sha256(file.read_bytes()).hexdigest()
    with safe_open(file, framework="pt") as content:
        metadata = content.metadata()
    assert len(metadata.pop("id")) == 32
    assert metadata == {
        "keys": '["a", "b"]',
        "cache": "numbers",
        "dtype": "torch.float16",
        "shape": "[2, 3]",
    }
    shard = read_shard(file, "numbers", torch.float16, verify=True)
    assert shard.keys == ["a", "b"]
    assert torch.equal(shard.rows, ROWS)


def test_a_new_shard_replaces_no_other(tmp_path):
    files = {write_shard(tmp_path, ["a", "b"], ROWS, "numbers") for _ in range(3)}
    assert len(files) == 3


@pytest.mark.parametrize(
    ("rows", "changes", "message"),
    [
        (ROWS, {"cache": "letters"}, "its cache is letters, expected numbers"),
        (ROWS, {"shape": "[3, 2]"}, "its shape is"),
        (ROWS, {"dtype": "torch.float32"}, "its dtype is torch.float32"),
        (ROWS, {"keys": '["a"]'}, "for 1 keys"),
        (ROWS, {"keys": "["}, "no rows with keys"),
        (ROWS.float(), {}, r"torch\.float32 of shape \(2, 3\)"),
        (ROWS[0], {}, r"of shape \(3,\)"),
    ],
)
@pytest.mark.parametrize("verify", [True, False])
def test_undamaged_files_of_another_content_are_foreign(tmp_path, rows, changes, message, verify):
    metadata = {"keys": json.dumps(["a", "b"]), **changes}
    file = write(tmp_path, save({"rows": rows}, metadata))
    with pytest.raises(ForeignShard, match=message):
        read_shard(file, "numbers", torch.float16, verify)


@pytest.mark.parametrize("content", [b"", b"junk" * 100, save({"other": ROWS})])
def test_bytes_that_are_no_shard_under_their_own_digest_are_foreign(tmp_path, content):
    with pytest.raises(ForeignShard):
        read_shard(write(tmp_path, content), "numbers", torch.float16, verify=True)


def test_bytes_under_the_name_of_others_are_damage(tmp_path):
    file = write_shard(tmp_path, ["a", "b"], ROWS, "numbers")
    file.write_bytes(write_shard(tmp_path, ["a", "c"], ROWS, "numbers").read_bytes())
    with pytest.raises(DamagedShard):
        read_shard(file, "numbers", torch.float16, verify=True)


@pytest.mark.parametrize("verify", [True, False])
def test_files_that_are_missing_or_have_other_names(tmp_path, verify):
    file = write_shard(tmp_path, ["a", "b"], ROWS, "numbers")
    copy = file.rename(tmp_path / f"copy of {file.name}")
    with pytest.raises(ForeignShard, match="name"):
        read_shard(copy, "numbers", torch.float16, verify)
    with pytest.raises(FileNotFoundError):
        read_shard(file, "numbers", torch.float16, verify)
