"""Checkpoint files, and folders in their place."""

import os

import pytest
import torch

from mmie.checkpoints import CheckpointError, read_checkpoint, read_checkpoint_file
from mmie.export.pretrained import save_pretrained
from mmie.runs import RunError
from mmie.runs.checkpoint_digests import record_checkpoint, recorded_digests
from mmie.utils.files import digest_file


def test_a_folder_is_read_like_a_file(random_pair, tmp_path):
    folder = save_pretrained(random_pair["ner"], tmp_path / "folder")
    checkpoint = read_checkpoint(folder)
    expected = read_checkpoint(random_pair["ner"])
    assert checkpoint.method == expected.method
    assert checkpoint.schema == expected.schema
    assert checkpoint.tokenizer == expected.tokenizer
    assert checkpoint.image_transform == expected.image_transform
    for name, value in expected.state_dict.items():
        assert torch.equal(checkpoint.state_dict[name], value)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 half an archive"])
def test_a_file_of_another_kind_is_refused(tmp_path, content):
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.ckpt' is no checkpoint"):
        read_checkpoint_file(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=r"nothing\.ckpt' does not exist"):
        read_checkpoint(tmp_path / "nothing.ckpt")


@pytest.fixture
def damaged(random_pair, tmp_path):
    """A checkpoint in which one bit of a weight is turned."""
    path = tmp_path / "best.ckpt"
    content = bytearray(random_pair["ner"].read_bytes())
    weights = torch.load(random_pair["ner"], weights_only=True)["state_dict"]
    raw = weights["head.emission.weight"].numpy().tobytes()
    content[content.find(raw) + 3] ^= 0x40
    path.write_bytes(content)
    return path


def test_a_flipped_bit_is_refused_without_a_record(damaged):
    with pytest.raises(CheckpointError, match="is damaged: its checksums do not match"):
        read_checkpoint(damaged)


def test_the_run_folder_says_which_checkpoint_is_its_own(random_pair, tmp_path):
    path = tmp_path / "best.ckpt"
    path.write_bytes(random_pair["ner"].read_bytes())
    record_checkpoint(path, [digest_file(path)])
    read_checkpoint(path)
    path.write_bytes(random_pair["re"].read_bytes())
    with pytest.raises(CheckpointError, match="is not the one that its run wrote"):
        read_checkpoint(path)
    record_checkpoint(path, ["0" * 64, digest_file(path)])  # an interruption between two writes
    read_checkpoint(path)
    assert recorded_digests(path) == ["0" * 64, digest_file(path)]
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(RunError, match=r"metrics\.json is damaged"):
        read_checkpoint(path)


def test_weights_that_are_no_numbers_are_refused(random_pair, tmp_path):
    content = torch.load(random_pair["ner"], weights_only=True)
    for value in (float("nan"), float("inf")):
        content["state_dict"]["head.emission.weight"][0, 0] = value
        torch.save(content, tmp_path / "a.ckpt")
        with pytest.raises(CheckpointError, match=r"no finite numbers \(head\.emission\.weight"):
            read_checkpoint(tmp_path / "a.ckpt")


def test_a_truncated_checkpoint_is_refused(random_pair, tmp_path):
    content = random_pair["ner"].read_bytes()
    path = tmp_path / "a.ckpt"
    for size in range(0, len(content), len(content) // 20 + 1):
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError):
            read_checkpoint(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_checkpoint_without_rights_says_so(random_pair, tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(random_pair["ner"].read_bytes())
    path.chmod(0)
    with pytest.raises(CheckpointError, match=r"a\.ckpt' cannot be read: Permission denied"):
        read_checkpoint(path)
