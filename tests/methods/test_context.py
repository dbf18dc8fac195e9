"""Contexts in every method: they change the states of the post's words, and are not tagged."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers.methods import build_data, build_module, encode, make_batch, perturb, training_loss

from mmie.data.demo import write_demo
from mmie.data.demo.tiny_encoders import write_tiny_roberta
from mmie.methods import DGHC, IMM, RAP, HVPNet, MLNet, RSRNeT, TextOnly

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:You are trying to `self.log", "ignore:.*in eval mode"),
]

TINY = {"vision_backbone": "test_resnet"}
METHODS = {
    "text_only": (TextOnly, {}),
    "hvpnet": (HVPNet, TINY),
    "hvpnet_reference": (HVPNet, {**TINY, "variant": "reference"}),
    "rsrnet": (RSRNeT, TINY),
    "rap": (RAP, {**TINY, "num_fusion_layers": 2, "prompt_length": 4}),
    "dghc": (DGHC, {**TINY, "prompt_dim": 16}),
    "imm": (IMM, {"patch_size": 16}),
    "mlnet": (MLNet, {**TINY, "fusion_layers": 1, "lstm_size": 32}),
}
TASKS = ["ner", "re"]


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """Small demo corpus with contexts, a BERT and a RoBERTa with its words."""
    folder = tmp_path_factory.mktemp("demo") / "described"
    write_demo(folder, train=48, valid=16, test=16, context=True)
    records = [
        json.loads(line)
        for line in (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    write_tiny_roberta(
        folder / "roberta", [" ".join([*record["words"], record["context"]]) for record in records]
    )
    return folder


@pytest.fixture(
    scope="module", params=[(name, task) for name in METHODS for task in TASKS], ids="-".join
)
def setting(request, root):
    """Method with its data and eight instances of different words, all with a context."""
    return build_setting(root, *request.param)


def build_setting(root, name, task):
    method, arguments = METHODS[name]
    encoder = str(root / ("roberta" if method is RSRNeT else "encoder"))
    data = build_data(root, task, encoder, use_context=True)
    module = perturb(build_module(method, data.schema, encoder, **arguments))
    chosen = {instance.post.words: instance for instance in data.instances["train"]}
    return module, data, list(chosen.values())[:8]


def test_context_changes_the_states_of_the_posts_words(setting):
    module, data, posts = setting
    batch = make_batch(data, posts)
    assert batch.token_type_ids.any(1).all()
    changed = batch.input_ids.clone()
    rows = torch.arange(len(posts))
    second = batch.token_type_ids.argmax(1) + 2  # beyond RoBERTa's separator
    changed[rows, second] = (changed[rows, second] + 1) % 90 + 10
    assert not torch.equal(changed, batch.input_ids)
    difference = encode(module, batch) - encode(module, replace(batch, input_ids=changed))
    change = difference.abs().amax(-1)  # (batch, tokens)
    assert (change.masked_fill(~batch.text_mask, torch.inf).amin(1) > 1e-6).all()


def test_states_do_not_depend_on_padding_or_batch_mates(setting):
    module, data, posts = setting
    together = encode(module, make_batch(data, posts))
    for row, post in enumerate(posts):
        alone = encode(module, make_batch(data, [post]))[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, atol=2e-5, rtol=1e-4)


def test_a_training_step_gives_a_finite_loss_and_finite_gradients(setting):
    module, data, posts = setting
    loss = training_loss(module, make_batch(data, posts))
    loss.backward()
    assert loss.isfinite()
    gradients = [parameter.grad for parameter in module.parameters() if parameter.grad is not None]
    assert gradients
    assert all(gradient.isfinite().all() for gradient in gradients)
    module.zero_grad()
    module.eval()


def test_predictions_are_about_the_posts_words(setting):
    module, data, posts = setting
    for prediction, post in zip(module(make_batch(data, posts)), posts, strict=True):
        assert all(
            0 <= entity.start < entity.end <= len(post.post.words) for entity in prediction.entities
        )
        asked = [] if post.relation is None else [(post.relation.head, post.relation.tail)]
        assert [(relation.head, relation.tail) for relation in prediction.relations] == asked


@pytest.mark.parametrize("name", METHODS)
def test_only_the_posts_words_have_emissions(root, name):
    module, data, posts = build_setting(root, name, "ner")
    batch = make_batch(data, posts)
    decoded = module.head.decode(encode(module, batch), batch)
    assert (
        decoded.shape == batch.word_mask.shape == (8, max(len(post.post.words) for post in posts))
    )
    noise = torch.randn(*batch.token_type_ids.shape, module.text.hidden_size)
    states = encode(module, batch)
    elsewhere = torch.where(batch.token_type_ids.bool().unsqueeze(-1), noise, states)
    assert torch.equal(
        module.head.emissions(elsewhere, batch), module.head.emissions(states, batch)
    )


def test_posts_with_and_without_context_can_share_a_batch(setting):
    module, data, posts = setting
    bare = build_data(data.corpus.root, data.task, data.tokenizer_source).instances["train"]
    same_words = next(instance for instance in bare if instance.post == posts[0].post)
    mixed = encode(module, make_batch(data, [*posts[1:], same_words]))[-1]
    alone = encode(module, make_batch(data, [same_words]))[0]
    torch.testing.assert_close(mixed[: len(alone)], alone, atol=2e-5, rtol=1e-4)
