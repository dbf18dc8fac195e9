"""Whether a checkpoint fits a method."""

from dataclasses import replace

import pytest

from mmie.checkpoints import Checkpoint, CheckpointMismatch, check_fits
from mmie.checkpoints.compatibility import (
    check_encoder,
    describe_changed_splits,
    same_vocabulary,
)
from mmie.types import Schema

SCHEMA = Schema("ner", ("LOC", "PER"), vocab_size=100)
CHECKPOINT = Checkpoint("a.ckpt", "package.Method", {}, SCHEMA, {})


def test_the_same_method_and_labels_fit():
    check_fits(CHECKPOINT, "package.Method", SCHEMA)
    check_fits(CHECKPOINT, "package.Method", replace(SCHEMA, max_tokens=64, num_objects=1))


@pytest.mark.parametrize(
    ("method", "changes", "reason"),
    [
        ("package.Other", {}, r"method package\.Method, the run has package\.Other"),
        ("package.Method", {"task": "re"}, "task ner, the run has re"),
        ("package.Method", {"labels": ("PER", "LOC")}, "labels"),
        ("package.Method", {"tag_scheme": "bioes"}, "tag_scheme bio, the run has bioes"),
        ("package.Method", {"vocab_size": 101}, "vocab_size 100, the run has 101"),
    ],
)
def test_the_first_difference_is_named(method, changes, reason):
    with pytest.raises(CheckpointMismatch, match=reason):
        check_fits(CHECKPOINT, method, replace(SCHEMA, **changes))


def test_vocabularies_are_compared_by_tokens_and_ids(demo_data, tiny_bert, tiny_roberta):
    bert = demo_data("ner", tiny_bert).tokenizer.to_files()
    roberta = demo_data("ner", tiny_roberta).tokenizer.to_files()
    assert same_vocabulary(bert, dict(bert))
    assert same_vocabulary(bert, demo_data("re", tiny_bert).tokenizer.to_files())
    assert not same_vocabulary(bert, roberta)


def test_a_text_encoder_that_computes_something_else_is_refused():
    trained = {"hidden_act": "gelu", "hidden_dropout_prob": 0.1, "dtype": "float32", "old": 1}
    checkpoint = replace(CHECKPOINT, init_args={"text_encoder": trained})
    check_encoder(checkpoint, {**trained, "hidden_dropout_prob": 0.0, "dtype": None, "new": 2})
    check_encoder(checkpoint, {"hidden_act": "gelu"})
    with pytest.raises(CheckpointMismatch, match="hidden_act gelu, the run has relu"):
        check_encoder(checkpoint, {**trained, "hidden_act": "relu"})
    check_encoder(CHECKPOINT, {"hidden_act": "relu"})  # one that says nothing


def test_changed_splits_are_named():
    checkpoint = replace(CHECKPOINT, corpus={"train": "a", "test": "b"})
    digests = {"train": "a", "valid": "c", "test": "d"}
    assert describe_changed_splits(checkpoint, digests, ["train", "valid"]) == ""
    message = describe_changed_splits(checkpoint, digests, ["test"])
    assert message.startswith("the test split is not the one that the fit of a.ckpt had")
