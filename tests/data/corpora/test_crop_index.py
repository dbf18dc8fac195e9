"""Published crop indices, which are pickles and must not run code."""

import os
import pickle
from pathlib import Path

import pytest
import torch
from helpers.corpora import write_twitter

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.crop_index import load_crop_index


class Evil:
    """An object that makes a folder when it is unpickled freely."""

    def __reduce__(self) -> tuple:
        return os.mkdir, ("evil",)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize(
    ("make", "found"),
    [
        (lambda file: torch.save({"7.jpg": Evil()}, file), "cannot be loaded"),
        (lambda file: file.write_bytes(pickle.dumps(Evil())), "cannot be loaded"),
        (lambda file: file.write_bytes(b"junk"), "cannot be loaded"),
        (lambda file: file.write_bytes(b""), "cannot be loaded"),
        (lambda file: torch.save(["x.jpg"], file), "other values"),
        (lambda file: torch.save({"7.jpg": "x.jpg"}, file), "other values"),
        (lambda file: torch.save({"7.jpg": ["../../../x.jpg"]}, file), "leads out of"),
    ],
)
def test_a_crop_index_runs_no_code(tmp_path, monkeypatch, make, found):
    monkeypatch.chdir(tmp_path)
    corpus = write_twitter(tmp_path)
    make(tmp_path / "root" / "twitter2017_train_dict.pth")
    with pytest.raises(CorpusError, match=found) as error:
        corpus.posts("train")
    assert "\n" not in str(error.value)
    assert not Path("evil").exists()


def test_without_a_file_the_index_is_empty(tmp_path):
    assert load_crop_index([tmp_path / "a.pth", tmp_path / "b.pth"]) == {}


def test_the_first_file_is_read_with_keys_as_strings(tmp_path):
    torch.save({1: ("x.jpg", "y.jpg"), "7.jpg": []}, tmp_path / "b.pth")
    torch.save({2: ["z.jpg"]}, tmp_path / "c.pth")
    index = load_crop_index([tmp_path / f"{name}.pth" for name in "abc"])
    assert index == {"1": ["x.jpg", "y.jpg"], "7.jpg": []}
