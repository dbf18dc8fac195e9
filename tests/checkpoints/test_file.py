"""Checkpoint files, and folders in their place."""

import pytest
import torch

from mmie.checkpoints import CheckpointError, read_checkpoint, read_checkpoint_file
from mmie.export.pretrained import save_pretrained


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
