"""Text encoders with their own kind of tokenizer, from a corpus with contexts to extraction."""

import json
import shutil

import pytest
import torch
from helpers.methods import (
    build_data,
    build_module,
    build_trainer,
    distinct_instances,
    encode,
    make_batch,
    parameters_without_gradient,
    training_loss,
)
from helpers.text_encoders import SIZES, make_config
from helpers.tokenizers import (
    write_bertweet,
    write_deberta,
    write_japanese,
    write_modernbert,
    write_mpnet,
)

from mmie.blocks.errors import EncoderUnsuited
from mmie.data.demo import write_demo
from mmie.export.pretrained import save_pretrained
from mmie.inference import Extractor
from mmie.methods import HVPNet, TextOnly

pytestmark = pytest.mark.filterwarnings(
    "ignore:You are trying to `self.log", "ignore:.*in eval mode"
)

DISENTANGLED = {
    "relative_attention": True,
    "position_buckets": 16,
    "pos_att_type": ["p2c", "c2p"],
    "position_biased_input": False,
    "type_vocab_size": 0,
}
SINGLE = {"type_vocab_size": 1, "pad_token_id": 1}
ENCODERS = {
    "bertweet": (write_bertweet, {"model_type": "roberta", **SINGLE}),
    "japanese": (write_japanese, {"model_type": "bert"}),
    "deberta-v3": (write_deberta, {"model_type": "deberta-v2", **DISENTANGLED}),
    "modernbert": (write_modernbert, {"model_type": "modernbert", "local_attention": 8}),
    "mpnet": (write_mpnet, {"model_type": "mpnet", "pad_token_id": 1}),
    "distilbert": (write_japanese, {"model_type": "distilbert"}),
}
TOKENIZERS = {
    "bertweet": {"normalization": True},
    "japanese": {"word_tokenizer_type": "mecab"},
    "distilbert": {"word_tokenizer_type": "basic"},
}
REFUSING = ["deberta-v3", "mpnet"]


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Demo corpus with contexts, and a folder of each encoder."""
    folder = tmp_path_factory.mktemp("demo") / "described"
    write_demo(folder, train=16, valid=8, test=8, context=True)
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    texts = []
    for record in map(json.loads, lines):
        texts.append(" ".join([*record["words"], record["context"]]))
    for name, (write, settings) in ENCODERS.items():
        write(folder / name, texts, **TOKENIZERS.get(name, {}))
        make_config({**SIZES, **settings}).save_pretrained(folder / name)
    return folder


@pytest.mark.parametrize("name", ENCODERS)
def test_padding_and_batch_mates_do_not_matter_and_gradients_arrive(root, name):
    data = build_data(root, "ner", str(root / name), use_context=True)
    module = build_module(TextOnly, data.schema, str(root / name))
    posts = distinct_instances(data.instances["train"], 4)
    states = encode(module, make_batch(data, posts))
    for row, post in enumerate(posts):
        alone = encode(module, make_batch(data, [post]))[0]
        torch.testing.assert_close(states[row, : len(alone)], alone, atol=1e-5, rtol=1e-4)
    assert len({len(post) for post in posts}) > 1
    training_loss(module, make_batch(data, posts)).backward()
    assert all(not name.startswith("text.") for name in _without_gradient(module))


def _without_gradient(module):
    """Names without a gradient but those of key projections' biases, which DeBERTa names apart."""
    names = parameters_without_gradient(module)
    return [name for name in names if not name.endswith(("k.bias", "k_lin.bias", "key_proj.bias"))]


@pytest.mark.parametrize("name", ENCODERS)
def test_fitted_checkpoint_extracts_without_the_encoders_folder(root, name, tmp_path):
    task = "re" if name == "mpnet" else "ner"
    encoder = shutil.copytree(root / name, tmp_path / "encoder")
    data = build_data(root, task, str(encoder), use_context=True)
    module = build_module(TextOnly, data.schema, str(encoder), head_lr=0.1, text_lr=1e-3)
    trainer = build_trainer(tmp_path, max_steps=2, limit_val_batches=1)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "module.ckpt")
    shutil.rmtree(encoder)
    save_pretrained(tmp_path / "module.ckpt", tmp_path / "folder")
    posts = data.instances["test"][:6]
    expected = module.eval().predict(make_batch(data, posts))
    for source in ("module.ckpt", "folder"):
        extractor = Extractor.from_checkpoint(tmp_path / source, device="cpu")
        predictor = extractor.ner or extractor.re
        assert torch.equal(
            encode(predictor.method, make_batch(data, posts)),
            encode(module, make_batch(data, posts)),
        )
        assert predictor.tokenizer.split([posts[0].post.words]) == data.tokenizer.split(
            [posts[0].post.words]
        )
        extractions = extractor.extract([post.post for post in posts])
        assert not any(extraction.problems for extraction in extractions)
        for extraction, prediction, post in zip(extractions, expected, posts, strict=True):
            if task == "ner":
                found = [(mention.text, mention.type) for mention in extraction.entities]
                assert found == [_describe(entity, post.post) for entity in prediction.entities]


def _describe(entity, post):
    """Return an entity's text and type."""
    return " ".join(post.words[entity.start : entity.end]), entity.type


@pytest.mark.parametrize("name", ENCODERS)
def test_method_with_a_prefix_runs_or_refuses_in_one_line(root, name):
    data = build_data(root, "ner", str(root / name))
    if name in REFUSING:
        with pytest.raises(EncoderUnsuited, match="reads no prefix") as error:
            build_module(HVPNet, data.schema, str(root / name), vision_backbone="test_resnet")
        assert "\n" not in str(error.value)
        return
    module = build_module(HVPNet, data.schema, str(root / name), vision_backbone="test_resnet")
    posts = distinct_instances(data.instances["train"], 2)
    training_loss(module, make_batch(data, posts)).backward()
    assert all(p.grad is not None for p in module.visual_prefix.parameters())
