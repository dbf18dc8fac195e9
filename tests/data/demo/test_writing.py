"""Writing of demo corpora: bytes, crops, the encoder, and what is replaced."""

import os
import shutil
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from helpers.demo import SMALL, contents
from PIL import Image
from transformers import AutoTokenizer

from mmie.data.corpora.base import CorpusError
from mmie.data.demo import DemoCorpus, tiny_encoders, write_demo
from mmie.types import SPLITS

pytestmark = pytest.mark.slow


def test_the_same_seed_gives_the_same_bytes_in_another_process(tmp_path):
    write_demo(tmp_path / "here", **SMALL)
    script = (
        f"from mmie.data.demo import write_demo; write_demo({str(tmp_path / 'there')!r}, **{SMALL})"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7", "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    assert contents(tmp_path / "here") == contents(tmp_path / "there")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


def test_another_seed_gives_other_words_and_pictures(tmp_path):
    for seed in (1, 2):
        write_demo(tmp_path / str(seed), seed=seed, **SMALL)
    first, second = contents(tmp_path / "1"), contents(tmp_path / "2")
    assert first["test.jsonl"] != second["test.jsonl"]
    assert not {data for name, data in first.items() if "images" in name} & set(second.values())


def test_crops_are_parts_of_the_picture(corpus):
    numbers = Counter()
    for post in corpus.posts("test"):
        numbers[len(post.crops)] += 1
        picture = np.asarray(Image.open(post.image))
        assert picture.shape == (64, 64, 3)
        windows = {}
        for crop in post.crops:
            part = np.asarray(Image.open(crop))
            shape = part.shape[:2]
            if shape not in windows:
                windows[shape] = np.lib.stride_tricks.sliding_window_view(
                    picture, shape, axis=(0, 1)
                )
            # corners of the same colour are compared first, (top, left, colour)
            is_corner = windows[shape][..., 0, 0] == part[0, 0]
            corners = np.argwhere(is_corner.all(-1))
            height, width = shape
            assert any((picture[y : y + height, x : x + width] == part).all() for y, x in corners)
    assert set(numbers) == {0, 1, 2, 3}
    assert numbers[0] > 100


def test_the_encoder_covers_every_word(corpus, default_root):
    tokenizer = AutoTokenizer.from_pretrained(default_root / "encoder", local_files_only=True)
    for split in SPLITS:
        words = [list(post.words) for post in corpus.posts(split)]
        encoded = tokenizer(words, is_split_into_words=True)["input_ids"]
        assert not any(tokenizer.unk_token_id in ids for ids in encoded)
        assert max(map(len, encoded)) < 64


def test_demo_corpora_and_empty_folders_are_replaced(tmp_path):
    (tmp_path / "demo").mkdir()
    for seed in (1, 2):
        write_demo(tmp_path / "demo", seed=seed, **SMALL)
    assert DemoCorpus(tmp_path / "demo").bounds.seed == 2
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


def test_a_corpus_that_another_process_has_just_written_is_kept(tmp_path, monkeypatch):
    """As when the ranks of a distributed run start together."""
    write_demo(tmp_path / "other", **SMALL)

    write_tiny_bert = tiny_encoders.write_tiny_bert

    def write_and_lose_the_race(folder, texts):
        write_tiny_bert(folder, texts)
        shutil.copytree(tmp_path / "other", tmp_path / "demo")

    monkeypatch.setattr(tiny_encoders, "write_tiny_bert", write_and_lose_the_race)
    bounds = write_demo(tmp_path / "demo", **SMALL)
    assert DemoCorpus(tmp_path / "demo").bounds == bounds
    assert contents(tmp_path / "demo") == contents(tmp_path / "other")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "other"]


@pytest.mark.parametrize("content", ["{}", "[]", "not json", '{"layout": "another"}'])
def test_other_folders_are_kept(tmp_path, content):
    (tmp_path / "bounds.json").write_text(content)
    for make in (lambda: write_demo(tmp_path, **SMALL), lambda: DemoCorpus(tmp_path)):
        with pytest.raises(CorpusError, match="no demo corpus"):
            make()
    assert contents(tmp_path) == {"bounds.json": content.encode()}


def test_files_are_kept(tmp_path):
    (tmp_path / "demo").write_text("mine")
    with pytest.raises(CorpusError, match="no demo corpus"):
        write_demo(tmp_path / "demo", **SMALL)
    assert (tmp_path / "demo").read_text() == "mine"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"test": 41}, "41 posts: expected a multiple of 4"),
        ({"valid": 0}, "0 posts: expected"),
        ({"noise": 0.95}, "noise is 0.95"),
        ({"noise": 0.8, "both": 0.3}, "noise is 0.8"),
        ({"both": 1.5}, "both is 1.5"),
        ({"noise": -0.1}, "noise is -0.1"),
        ({"size": 16}, "size is 16"),
    ],
)
def test_invalid_numbers_write_nothing(tmp_path, changed, message):
    with pytest.raises(ValueError, match=message):
        write_demo(tmp_path / "demo", **{**SMALL, **changed})
    assert list(tmp_path.iterdir()) == []


def test_the_plain_corpus_has_no_contexts(default_root):
    assert "context" not in (default_root / "bounds.json").read_text()
    assert all("context" not in (default_root / f"{split}.jsonl").read_text() for split in SPLITS)


def test_the_encoder_covers_the_contexts(context_corpus):
    tokenizer = AutoTokenizer.from_pretrained(
        context_corpus.root / "encoder", local_files_only=True
    )
    for post in context_corpus.posts("test"):
        ids = tokenizer(" ".join(post.words), post.context)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert len(ids) <= 64


def test_the_variant_with_contexts_is_deterministic(tmp_path):
    for name in ("a", "b"):
        write_demo(tmp_path / name, context=True, **SMALL)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
