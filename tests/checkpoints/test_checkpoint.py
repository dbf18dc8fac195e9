"""The content of a checkpoint as a type."""

import pytest
import torch

from mmie.checkpoints import Checkpoint, CheckpointError, describe_method, read_checkpoint
from mmie.checkpoints.checkpoint import check_finite
from mmie.data.pictures import ImageTransform
from mmie.types import Schema

SCHEMA = Schema("ner", ("LOC", "PER"), vocab_size=100, image_size=64)


def make_content(**changes):
    """Return the content of a checkpoint file, with some parts replaced."""
    return {
        **describe_method("package.Method", SCHEMA, {"text_encoder": {}}),
        "state_dict": {"weight": torch.ones(2)},
        **changes,
    }


def make_data_state(**changes):
    """Return the state of a data module, with some parts replaced."""
    state = {
        "schema": describe_method("", SCHEMA, {})["mmie"]["schema"],
        "tokenizer": {"tokenizer.json": "{}"},
        "transform": {"resize": "squash", "max_pixels": 1000},
        "use_context": True,
        "epochs": 3,
    }
    return {**state, **changes}


def test_all_parts_are_read():
    content = make_content(MultimodalDataModule=make_data_state(), global_step=7)
    checkpoint = Checkpoint.from_content(content, "a.ckpt")
    assert (checkpoint.source, checkpoint.method) == ("a.ckpt", "package.Method")
    assert checkpoint.schema == SCHEMA
    expected = {"text_encoder": {}, "pretrained": False, "init_from": None}
    assert checkpoint.init_args == expected
    assert checkpoint.state_dict.keys() == {"weight"}
    assert checkpoint.tokenizer == {"tokenizer.json": "{}"}
    assert checkpoint.image_transform == ImageTransform(64, "squash", 1000)
    assert checkpoint.use_context is True
    assert checkpoint.training == {"global_step": 7}
    assert checkpoint.data_state().transform == checkpoint.image_transform


def test_a_checkpoint_without_a_data_module_has_no_data_state():
    checkpoint = Checkpoint.from_content(make_content(), "a.ckpt")
    assert checkpoint.tokenizer is None
    with pytest.raises(CheckpointError, match=r"'a\.ckpt' says nothing of its data"):
        checkpoint.data_state()


@pytest.mark.parametrize("value", [None, 3, [], {}, {"state_dict": {}}, torch.ones(2)])
def test_other_content_is_refused(value):
    with pytest.raises(CheckpointError, match=r"'a\.ckpt' is no checkpoint of mmie"):
        Checkpoint.from_content(value, "a.ckpt")


@pytest.mark.parametrize(
    "changes",
    [
        {"mmie": 3},
        {"mmie": {"method": "a", "init_args": {}, "schema": {"task": "ner"}}},
        {"mmie": {"method": "a", "schema": {}}},
        {"state_dict": 3},
    ],
)
def test_a_malformed_description_is_refused(changes):
    with pytest.raises(CheckpointError, match="does not fit the method known here"):
        Checkpoint.from_content(make_content(**changes), "a.ckpt")


@pytest.mark.parametrize(
    "changes",
    [
        {"transform": {"resize": "stretch", "max_pixels": 1}},
        {"transform": {"resize": "crop", "max_pixels": "many"}},
        {"transform": 3},
        {"use_context": 1},
        {"schema": {}},
        {"tokenizer": 3},
    ],
)
def test_a_malformed_data_state_is_refused(changes):
    content = make_content(MultimodalDataModule=make_data_state(**changes))
    with pytest.raises(CheckpointError, match="does not say how it reads posts"):
        Checkpoint.from_content(content, "a.ckpt")


def test_a_checkpoint_file_is_read_as_a_checkpoint(random_pair, demo_data, tiny_bert):
    checkpoint = read_checkpoint(random_pair["re"])
    assert checkpoint.method == "mmie.methods.hvpnet.HVPNet"
    assert checkpoint.schema == demo_data("re", tiny_bert).schema
    assert checkpoint.image_transform == demo_data("re", tiny_bert).transform


def test_large_finite_weights_are_no_fault():
    weights = {
        "half": torch.full((100_000,), 1.0, dtype=torch.float16),
        "ids": torch.ones(2).long(),
    }
    weights["large"] = torch.full((4,), torch.finfo(torch.float32).max)
    check_finite(weights, "a.ckpt")
    weights["large"][2] = -torch.inf
    with pytest.raises(CheckpointError, match=r"no finite numbers \(large\)"):
        check_finite(weights, "a.ckpt")
