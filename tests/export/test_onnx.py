"""Exported graphs compute what PyTorch computes, and the code of their README runs."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.methods import instance_without_views, make_batch
from torch import nn

from mmie.data import DemoCorpus
from mmie.export.onnx import check_exportable, describe, export_onnx
from mmie.export.onnx_graphs import ModelGraph, model_inputs
from mmie.export.onnx_program import TOLERANCE, OnnxError, compare
from mmie.export.pretrained import SharingError
from mmie.inference import Extractor
from mmie.methods import MLNet, TextOnly
from mmie.methods.loading import load_method
from mmie.tags import tags_to_entities
from mmie.types import NO_RELATION

pytestmark = pytest.mark.slow

pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def posts(demo_root):
    return DemoCorpus(demo_root).posts("test")


@pytest.fixture(scope="module")
def hvpnet(random_pair, tmp_path_factory):
    """The export of an HVPNet for entities."""
    return export_onnx(random_pair["ner"], tmp_path_factory.mktemp("onnx") / "ner")


@pytest.fixture(scope="module")
def text_only(save_checkpoint, tmp_path_factory):
    """The checkpoint of a TextOnly for relations, and its export."""
    checkpoint = save_checkpoint(TextOnly, "re")
    return checkpoint, export_onnx(checkpoint, tmp_path_factory.mktemp("onnx") / "re")


def run_readme(folder: Path) -> dict:
    """Run the code of a folder's README and return the names that it defines."""
    code = (folder / "README.md").read_text().split("```python\n")[1].split("```")[0]
    names: dict = {}
    working_folder = os.getcwd()
    os.chdir(folder)
    try:
        exec(code, names)
    finally:
        os.chdir(working_folder)
    return names


def pictures(post):
    """Files of a post's views."""
    return [] if post.image is None else [post.image, *post.crops]


def test_scores_equal_pytorchs_for_any_batch_size(hvpnet, random_pair, demo_data, tiny_bert):
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
        inputs = {
            name: getattr(batch, name).numpy() for name in hvpnet.inputs if name != "features"
        }
        (scores,) = model.run(None, {**inputs, "features": features})
        np.testing.assert_allclose(scores, expected.numpy(), rtol=0, atol=TOLERANCE)
    assert hvpnet.difference < TOLERANCE / 10


def test_the_readmes_code_finds_the_entities_that_an_extractor_finds(hvpnet, random_pair, posts):
    find_tags = run_readme(hvpnet.folder)["find_tags"]
    expected = Extractor.from_checkpoint(random_pair["ner"], device="cpu").extract(posts)
    assert sum(len(extraction.entities) for extraction in expected) > len(posts)
    for post, extraction in zip(posts, expected, strict=True):
        found = tags_to_entities(find_tags(post.words, pictures(post)))
        named = [(" ".join(post.words[e.start : e.end]), e.type) for e in found]
        assert named == [(mention.text, mention.type) for mention in extraction.entities]


def test_the_readmes_code_finds_the_relations_that_an_extractor_finds(text_only, posts):
    checkpoint, exported = text_only
    find_relation = run_readme(exported.folder)["find_relation"]
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


def test_the_readmes_code_reads_words_without_subwords_and_long_posts(hvpnet, random_pair):
    find_tags = run_readme(hvpnet.folder)["find_tags"]
    assert len(find_tags(["Jordan", "\u200d", "lands", "\ufe0f"])) == 4
    assert 0 < len(find_tags(["Jordan"] * 1000)) < 1000


def test_the_graph_has_only_the_inputs_that_it_reads(hvpnet, text_only):
    _, exported = text_only
    assert set(exported.inputs) == {"input_ids", "attention_mask", "token_type_ids", "markers"}
    assert "token_words" not in hvpnet.inputs
    assert not (exported.folder / "vision.onnx").exists()


def test_a_method_with_a_layer_of_one_length_is_refused(random_pair):
    method = load_method(random_pair["ner"])
    method.extra = nn.GRU(4, 4)
    with pytest.raises(
        OnnxError, match=r"HVPNet has a layer GRU, which torch.export unrolls to one"
    ):
        check_exportable(method)


def test_a_method_that_reads_characters_is_refused(save_checkpoint, tmp_path):
    checkpoint = save_checkpoint(
        MLNet, "ner", vision_backbone="test_resnet", fusion_layers=1, lstm_size=32
    )
    with pytest.raises(OnnxError, match=r"MLNet reads the characters .* mmie extract --engine"):
        export_onnx(checkpoint, tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_slow_tokenizer_is_refused(random_pair, tmp_path):
    content = torch.load(random_pair["ner"], weights_only=True)
    tokenizer = content["MultimodalDataModule"]["tokenizer"]
    tokenizer["vocab.txt.json"] = tokenizer.pop("tokenizer.json")
    torch.save(content, tmp_path / "slow.ckpt")
    with pytest.raises(OnnxError, match=r"slow\.ckpt' has a slow tokenizer"):
        export_onnx(tmp_path / "slow.ckpt", tmp_path / "onnx")
    assert not (tmp_path / "onnx").exists()


def test_a_graph_that_computes_other_scores_is_refused(hvpnet, random_pair):
    method = load_method(random_pair["ner"])
    with torch.no_grad():
        method.head.emission.bias[0] += 0.1
    case = model_inputs(method, 2, 9, 4)
    with pytest.raises(OnnxError, match="differs from PyTorch by"):
        compare(ModelGraph(method, list(case)), hvpnet.folder / "model.onnx", [case])


def test_a_folder_with_files_is_not_overwritten(hvpnet, random_pair):
    with pytest.raises(SharingError, match="holds something already"):
        export_onnx(random_pair["ner"], hvpnet.folder)


def test_the_feature_width_is_described_only_if_features_are_read(random_pair):
    method = load_method(random_pair["ner"])
    assert "feature_width" not in describe(method, ("input_ids",), "crop")
    assert describe(method, ("features",), "crop")["feature_width"] == method.vision.width


def test_graphs_do_not_tell_where_the_package_lies(hvpnet, text_only):
    import mmie

    places = (str(Path(mmie.__file__).parent), str(Path(torch.__file__).parent), str(Path.home()))
    for folder in (hvpnet.folder, text_only[1].folder):
        files = [file for file in folder.rglob("*") if file.is_file()]
        assert any(file.suffix == ".onnx" for file in files)
        for file in files:
            content = file.read_bytes()
            assert b".py" not in content or file.suffix == ".md"
            for place in places:
                assert place.encode() not in content, f"{file} holds {place}"
