"""The graphs compute what PyTorch computes, and the few lines that run them find what an Extractor finds."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.methods import instance_without_views, make_batch

from mmie.data import DemoCorpus
from mmie.export import onnx as graphs
from mmie.export.onnx import TOLERANCE, OnnxError, export_onnx
from mmie.export.pretrained import SharingError
from mmie.inference import Extractor
from mmie.methods import MLNet, TextOnly
from mmie.methods.loading import load_method
from mmie.tags import tags_to_entities
from mmie.types import NO_RELATION

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def posts(demo_root):
    return DemoCorpus(demo_root).posts("test")


@pytest.fixture(scope="module")
def hvpnet(random_pair, tmp_path_factory):
    """HVPNet for entities: what was exported."""
    return export_onnx(random_pair["ner"], tmp_path_factory.mktemp("onnx") / "ner")


@pytest.fixture(scope="module")
def text_only(save_checkpoint, tmp_path_factory):
    """A text encoder for relations: its checkpoint and what was exported."""
    checkpoint = save_checkpoint(TextOnly, "re")
    return checkpoint, export_onnx(checkpoint, tmp_path_factory.mktemp("onnx") / "re")


def recipe(folder: Path) -> dict:
    """What the code of a folder's README defines."""
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict = {}
    here = os.getcwd()
    os.chdir(folder)
    try:
        exec(code, names)
    finally:
        os.chdir(here)
    return names


def pictures(post):
    return [] if post.image is None else [post.image, *post.crops]


def test_scores_are_those_of_pytorch_for_any_size_of_batch(
    hvpnet, random_pair, demo_data, tiny_bert
):
    data, method = demo_data("ner", tiny_bert), load_method(random_pair["ner"])
    model, vision = (
        onnxruntime.InferenceSession(hvpnet.folder / name) for name in ("model.onnx", "vision.onnx")
    )
    instances = data.instances["test"]
    for chosen in (
        instances[:1],
        instances[1:8],
        [instance_without_views(instances[0]), *instances[8:16]],
    ):
        batch = make_batch(data, chosen)
        with torch.no_grad():
            expected = method.head.emissions(method.encode(batch).states, batch)
        (rows,) = vision.run(None, {"pixels": batch.pixels[batch.view_mask].numpy()})
        features = np.zeros((*batch.view_mask.shape, rows.shape[1]), np.float32)
        features[batch.view_mask.numpy()] = rows
        given = {name: getattr(batch, name).numpy() for name in hvpnet.inputs if name != "features"}
        (found,) = model.run(None, {**given, "features": features})
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=TOLERANCE)
    assert hvpnet.difference < TOLERANCE / 10


def test_the_readmes_lines_find_the_entities_that_an_extractor_finds(hvpnet, random_pair, posts):
    find_tags = recipe(hvpnet.folder)["find_tags"]
    expected = Extractor.from_checkpoint(random_pair["ner"], device="cpu").extract(posts)
    assert sum(len(extraction.entities) for extraction in expected) > len(posts)
    for post, extraction in zip(posts, expected, strict=True):
        found = tags_to_entities(find_tags(post.words, pictures(post)))
        named = [(" ".join(post.words[e.start : e.end]), e.type) for e in found]
        assert named == [(mention.text, mention.type) for mention in extraction.entities]


def test_the_readmes_lines_find_the_relations_that_an_extractor_finds(text_only, posts):
    checkpoint, exported = text_only
    find_relation = recipe(exported.folder)["find_relation"]
    asked = [post for post in posts if post.relations]
    labels = set()
    for post, extraction in zip(
        asked, Extractor.from_checkpoint(checkpoint, device="cpu").extract(asked), strict=True
    ):
        relation = post.relations[0]
        head, tail = ((entity.start, entity.end) for entity in (relation.head, relation.tail))
        expected = extraction.relations[0].label if extraction.relations else NO_RELATION
        assert find_relation(post.words, head, tail) == expected
        labels.add(expected)
    assert len(labels) > 1


def test_words_without_subwords_and_posts_that_are_too_long_do_not_stop_the_readmes_lines(
    hvpnet, random_pair
):
    find_tags = recipe(hvpnet.folder)["find_tags"]
    assert len(find_tags(["Jordan", "\u200d", "lands", "\ufe0f"])) == 4
    assert 0 < len(find_tags(["Jordan"] * 1000)) < 1000


def test_the_graph_asks_for_what_it_reads_only(hvpnet, text_only):
    _, exported = text_only
    assert set(exported.inputs) == {"input_ids", "attention_mask", "token_type_ids", "markers"}
    assert "token_words" not in hvpnet.inputs
    assert not (exported.folder / "vision.onnx").exists()


def test_a_method_with_a_loop_over_the_text_is_refused(save_checkpoint, tmp_path):
    checkpoint = save_checkpoint(
        MLNet, "ner", vision_backbone="test_resnet", fusion_layers=1, lstm_size=32
    )
    with pytest.raises(
        OnnxError, match=r"MLNet has an LSTM, which torch.export unrolls to one length"
    ):
        export_onnx(checkpoint, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_method_that_torch_does_not_take_is_refused_in_one_line(random_pair):
    class Branching(torch.nn.Module):
        def forward(self, pixels):
            return pixels + 1 if pixels.sum() > 0 else pixels

    axes = {"pixels": {0: torch.export.Dim("pictures")}}
    with pytest.raises(OnnxError, match=r"torch.export does not take it: \w+: ") as caught:
        graphs._trace(Branching(), {"pixels": torch.zeros(2, 3)}, axes, "it")
    assert "\n" not in str(caught.value)


def test_a_graph_that_computes_something_else_is_not_written(hvpnet, random_pair):
    method = load_method(random_pair["ner"])
    with torch.no_grad():
        method.head.emission.bias[0] += 0.1
    case = graphs.example(method, 2, 9, 4)
    with pytest.raises(OnnxError, match="differs from PyTorch by"):
        graphs._compare(
            graphs._ModelGraph(method, list(case)), hvpnet.folder / "model.onnx", [case]
        )


def test_a_folder_that_holds_something_is_not_written_over(hvpnet, random_pair):
    with pytest.raises(SharingError, match="holds something already"):
        export_onnx(random_pair["ner"], hvpnet.folder)


def test_a_backbone_that_is_not_read_is_not_described(random_pair):
    method = load_method(random_pair["ner"])
    assert "feature_width" not in graphs.describe(method, ("input_ids",), "crop")
    assert graphs.describe(method, ("features",), "crop")["feature_width"] == method.vision.width
