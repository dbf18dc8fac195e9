"""Frames as a corpus: splits, labels, and training from them."""

import io
import json

import pandas as pd
import pytest
import torch
from helpers.methods import build_trainer
from PIL import Image

from mmie.data import FrameCorpus, JsonlCorpus, MultimodalDataModule
from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.checks import check_corpus
from mmie.data.corpora.editions import OWN_TABLES
from mmie.methods import HVPNet
from mmie.training.features.callback import FeatureCacheCallback
from mmie.types import SPLITS


def demo_frames(root, pictures_as=None) -> dict[str, pd.DataFrame]:
    """Return the demo corpus as frames, with pictures as their files' bytes or as paths."""
    frames = {}
    for split in SPLITS:
        lines = (root / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines]
        if pictures_as == "bytes":
            for record in records:
                record["image"] = (root / record["image"]).read_bytes()
                record["crops"] = [(root / crop).read_bytes() for crop in record.get("crops", [])]
        frames[split] = pd.DataFrame(records)
    return frames


@pytest.fixture(scope="module")
def byte_corpus(demo_root) -> FrameCorpus:
    """The demo corpus in frames that hold pictures as bytes."""
    frames = demo_frames(demo_root, "bytes")
    return FrameCorpus({"validation" if key == "valid" else key: frames[key] for key in frames})


def test_rows_in_are_posts_out(byte_corpus, demo_root):
    written = JsonlCorpus(demo_root)
    assert byte_corpus.splits == SPLITS
    assert byte_corpus.entity_types == written.entity_types
    assert byte_corpus.relation_labels == written.relation_labels
    for split in SPLITS:
        posts, expected = byte_corpus.posts(split), written.posts(split)
        for post, other in zip(posts, expected, strict=True):
            assert (post.id, post.words, post.entities) == (other.id, other.words, other.entities)
            assert post.relations == other.relations
            pictures = [picture.read_bytes() for picture in (post.image, *post.crops)]
            assert pictures == [picture.read_bytes() for picture in (other.image, *other.crops)]


def test_paths_lie_in_the_root(demo_root):
    corpus = FrameCorpus(demo_frames(demo_root), root=demo_root)
    assert corpus.posts("test") == JsonlCorpus(demo_root).posts("test")


def test_one_frame_is_divided_by_its_column(byte_corpus):
    frame = pd.DataFrame({"text": ["a", "b", "c"], "split": ["dev", "train", "dev"]})
    corpus = FrameCorpus(frame, name="mine")
    assert corpus.splits == ("train", "valid")
    assert [post.text for post in corpus.posts("valid")] == ["a", "c"]
    without = FrameCorpus(frame.drop(columns="split"), name="mine")
    assert without.splits == ("train",)
    with pytest.raises(
        CorpusError, match="mine: expected a frame for the valid split, found train"
    ):
        without.posts("valid")


@pytest.mark.parametrize("frames", [{"train": [1]}, [1], {}, {"extra": pd.DataFrame()}])
def test_what_is_no_frame_or_no_split_is_refused(frames):
    with pytest.raises(CorpusError, match=r"frame: expected a (pandas frame for 'train'|split)"):
        FrameCorpus(frames)


def test_an_unreadable_picture_is_named_by_its_row(tiny_bert):
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    tags = [["B-PER", "O"]] * 3
    pictures = [stream.getvalue(), b"no picture", stream.getvalue()[:30]]
    frame = pd.DataFrame({"tokens": [["Jordan", "lands"]] * 3, "ner_tags": tags, "image": pictures})
    corpus = FrameCorpus({"train": frame, "valid": frame}, max_missing=1.0)
    data = MultimodalDataModule(corpus, "ner", tokenizer=tiny_bert, image_size=32)
    expected = r"2 of 3 pictures cannot be read: frame train, row 1 \(not a picture\), frame train"
    with pytest.warns(UserWarning, match=expected):
        data.setup("fit")
    assert [instance.views[0] is None for instance in data.instances["train"]] == [0, 1, 1]


def test_a_check_finds_no_published_edition_and_names_rows(byte_corpus):
    report = check_corpus(byte_corpus)
    assert (report.edition, report.ok) == (OWN_TABLES, True)
    broken = FrameCorpus({"train": pd.DataFrame({"text": ["x"], "image": [b"no picture"]})})
    assert check_corpus(broken).unreadable_pictures == {"frame train, row 0": "not a picture"}


def test_a_fit_on_bytes_equals_a_fit_on_files(byte_corpus, demo_root, tiny_bert, tmp_path):
    def fit(corpus, folder):
        data = MultimodalDataModule(
            corpus, "ner", tokenizer=tiny_bert, batch_size=16, max_tokens=64, image_size=64
        )
        trainer = build_trainer(
            folder, max_steps=2, limit_val_batches=1, callbacks=[FeatureCacheCallback(cache)]
        )
        module = HVPNet(
            data.schema, text_encoder=tiny_bert, pretrained=False, vision_backbone="test_resnet"
        )
        trainer.fit(module, datamodule=data)
        return {name: float(value) for name, value in trainer.callback_metrics.items()}

    cache = tmp_path / "features"
    torch.manual_seed(0)
    scores = fit(JsonlCorpus(demo_root), tmp_path / "files")
    rows = sorted(file.name for file in cache.rglob("*") if file.is_file())
    torch.manual_seed(0)
    assert fit(byte_corpus, tmp_path / "bytes") == scores
    # the features of bytes are found under the keys of the files
    assert sorted(file.name for file in cache.rglob("*") if file.is_file()) == rows
