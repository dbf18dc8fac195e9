"""Initialisation from the checkpoint of another run (`init_from`)."""

import shutil
from dataclasses import replace

import pytest
import torch
from helpers.command import run, succeed, tiny_options
from helpers.methods import (
    build_data,
    build_module,
    build_trainer,
    copy_state,
    encode,
    equal_states,
    make_batch,
    perturb,
)
from transformers import AutoConfig

from mmie.checkpoints import CheckpointError
from mmie.data.demo import write_demo
from mmie.methods import RAP, HVPNet, TextOnly
from mmie.methods.initialisation import initialise_from

pytestmark = pytest.mark.filterwarnings(
    "ignore:You are trying to `self.log", "ignore:.*in eval mode"
)

TINY = {"vision_backbone": "test_resnet"}


class Trap:
    """Object that fails the test when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("something in the file was run",)


@pytest.fixture
def entities(demo_data, tiny_bert):
    return demo_data("ner", tiny_bert)


@pytest.fixture
def relations(demo_data, tiny_bert):
    return demo_data("re", tiny_bert)


@pytest.fixture(scope="module")
def other_root(tmp_path_factory):
    """Demo corpus with an encoder of its own, whose tokens have other ids."""
    root = tmp_path_factory.mktemp("other") / "other"
    write_demo(root, train=48, valid=16, test=16, seed=7)
    return root


@pytest.fixture
def write(tmp_path):
    """Function that writes the parts of a module's checkpoint that the package reads."""

    def write(module, data=None):
        checkpoint = {"state_dict": module.state_dict()}
        module.on_save_checkpoint(checkpoint)
        if data is not None:
            checkpoint["MultimodalDataModule"] = data.state_dict()
        torch.save(checkpoint, tmp_path / "first.ckpt")
        return tmp_path / "first.ckpt"

    return write


def changed_modules(before, module):
    """Return the first parts of the names of changed tensors."""
    return {
        name.split(".")[0]
        for name, value in copy_state(module).items()
        if not torch.equal(value, before[name])
    }


def test_same_labels_copy_all_weights(entities, tiny_bert, write):
    first = perturb(build_module(HVPNet, entities.schema, tiny_bert, seed=1, **TINY))
    second = build_module(HVPNet, entities.schema, tiny_bert, seed=2, **TINY)
    message = initialise_from(second, write(first, entities), entities.state_dict()["tokenizer"])
    source = first.state_dict()
    assert all(torch.equal(value, source[name]) for name, value in second.state_dict().items())
    assert (
        f"took over {len(source)} of {len(source)} tensors; new: none; left in the checkpoint: none"
        in message
    )
    batch = make_batch(entities, entities.instances["valid"][:4])
    assert torch.equal(encode(first, batch), encode(second, batch))
    assert first(batch) == second(batch)


@pytest.mark.parametrize(
    "change", [{"labels": ("LOC", "PER", "ORG", "MISC")}, {"tag_scheme": "bioes"}]
)
def test_other_labels_keep_only_the_head_new(entities, tiny_bert, write, change):
    first = perturb(build_module(HVPNet, entities.schema, tiny_bert, seed=1, **TINY))
    second = build_module(HVPNet, replace(entities.schema, **change), tiny_bert, seed=2, **TINY)
    before = copy_state(second)
    message = initialise_from(second, write(first))
    assert changed_modules(before, second) == {"text", "vision", "visual_prefix"}
    assert f"the head is new, since {next(iter(change))} differs" in message
    assert "new: head." in message


def test_entities_to_relations_copies_all_but_the_head(entities, relations, tiny_bert, write):
    first = perturb(
        build_module(RAP, entities.schema, tiny_bert, seed=1, num_fusion_layers=2, **TINY)
    )
    first.head.temperature.fill_(2.0)
    second = build_module(RAP, relations.schema, tiny_bert, seed=2, num_fusion_layers=2, **TINY)
    message = initialise_from(second, write(first))
    source = first.state_dict()
    heads = [name for name in second.state_dict() if name.startswith("head.")]
    for name, value in second.state_dict().items():
        if name not in heads:
            assert torch.equal(value, source[name])
    assert heads == ["head.temperature", "head.classifier.weight", "head.classifier.bias"]
    assert second.head.temperature == 1 != first.head.temperature
    assert "new: head.classifier (2), head.temperature (1)" in message
    assert "left in the checkpoint: head." in message


def test_another_method_copies_the_text_encoder(entities, tiny_bert, write):
    first = build_module(TextOnly, entities.schema, tiny_bert, seed=1)
    second = build_module(HVPNet, entities.schema, tiny_bert, seed=2, **TINY)
    before = copy_state(second)
    message = initialise_from(second, write(first))
    assert changed_modules(before, second) == {"text", "head"}
    assert "new: vision." in message
    assert "visual_prefix." in message


@pytest.mark.slow
def test_backbone_of_another_architecture_is_not_copied(entities, tiny_bert, write):
    """ResNets of different depths have blocks of the same names and shapes."""
    first = build_module(RAP, entities.schema, tiny_bert, seed=1, vision_backbone="resnet26")
    second = build_module(RAP, entities.schema, tiny_bert, seed=2, vision_backbone="resnet50")
    before = copy_state(second)
    message = initialise_from(second, write(first))
    assert "vision" not in changed_modules(before, second)
    assert "the backbone is not taken over, since it is resnet26 there and resnet50 here" in message


def test_word_embeddings_of_another_vocabulary_are_not_copied(
    entities, tiny_bert, other_root, write
):
    other = build_data(other_root, "ner", str(other_root / "encoder"))
    path = write(build_module(TextOnly, other.schema, str(other_root / "encoder"), seed=1), other)
    for size in (entities.schema.vocab_size, entities.schema.vocab_size + 5):
        module = build_module(
            TextOnly, replace(entities.schema, vocab_size=size), tiny_bert, seed=2
        )
        before = copy_state(module)
        message = initialise_from(module, path, entities.state_dict()["tokenizer"])
        changed = {
            name
            for name, value in copy_state(module).items()
            if not torch.equal(value, before[name])
        }
        assert any("encoder.layer" in name for name in changed)
        assert not any("word_embeddings" in name for name in changed)
        assert (
            f"the vocabulary differs ({other.schema.vocab_size} tokens there, {size} here)"
            in message
        )


def test_text_encoder_of_another_family_raises(entities, tiny_bert, tiny_roberta, demo_data, write):
    source = demo_data("ner", tiny_roberta)
    path = write(build_module(TextOnly, source.schema, tiny_roberta))
    module = build_module(TextOnly, entities.schema, tiny_bert)
    before = copy_state(module)
    with pytest.raises(
        CheckpointError, match=r"text encoder of type roberta, this method one of type bert"
    ) as caught:
        initialise_from(module, path)
    assert "\n" not in str(caught.value)
    assert changed_modules(before, module) == set()


@pytest.mark.parametrize(
    "change", [{"num_hidden_layers": 3}, {"intermediate_size": 96}, {"num_hidden_layers": 1}]
)
def test_text_encoder_of_another_size_raises(entities, tiny_bert, write, change):
    path = write(build_module(TextOnly, entities.schema, tiny_bert))
    config = {**AutoConfig.from_pretrained(tiny_bert).to_dict(), **change}
    module = build_module(TextOnly, entities.schema, config)
    with pytest.raises(
        CheckpointError,
        match=r"text encoder of another size \(text\.model\..*: init_from needs the same",
    ):
        initialise_from(module, path)


def test_no_code_in_a_checkpoint_is_run(entities, tiny_bert, tmp_path):
    torch.save({"mmie": {"schema": Trap()}, "state_dict": {}}, tmp_path / "trap.ckpt")
    module = build_module(
        TextOnly, entities.schema, tiny_bert, init_from=str(tmp_path / "trap.ckpt")
    )
    with pytest.raises(CheckpointError, match="holds more than plain values and tensors"):
        build_trainer(tmp_path, max_steps=1).fit(module, entities)


def test_continued_fit_does_not_read_init_from(entities, tiny_bert, write, tmp_path):
    """The checkpoint of ``init_from`` may have been removed by then."""
    path = write(build_module(TextOnly, entities.schema, tiny_bert, seed=1))
    settings = {"max_steps": 1, "limit_val_batches": 0}
    first = build_module(
        TextOnly, entities.schema, tiny_bert, seed=2, init_from=str(path), text_lr=0.0
    )
    trainer = build_trainer(tmp_path, **settings)
    trainer.fit(first, entities)
    expected = torch.load(path, weights_only=True)["state_dict"]
    assert all(
        torch.equal(v, expected[name])
        for name, v in first.state_dict().items()
        if name.startswith("text.")
    )
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    path.unlink()
    second = build_module(TextOnly, entities.schema, tiny_bert, seed=3, init_from=str(path))
    with pytest.raises(CheckpointError, match="does not exist"):
        build_trainer(tmp_path, **settings).fit(second, entities)
    build_trainer(tmp_path, **settings).fit(
        second, entities, ckpt_path=tmp_path / "last.ckpt", weights_only=True
    )
    assert all(
        torch.equal(value, first.state_dict()[name]) for name, value in second.state_dict().items()
    )


def test_frozen_backbone_is_copied_before_its_features_are_computed(
    demo_root, tiny_bert, write, tmp_path
):
    """Its features are cached when the loaders are built."""
    data = build_data(demo_root, "ner", tiny_bert)
    path = write(build_module(HVPNet, data.schema, tiny_bert, seed=1, **TINY))
    module = build_module(HVPNet, data.schema, tiny_bert, seed=2, init_from=str(path), **TINY)
    expected = {
        n: v
        for n, v in torch.load(path, weights_only=True)["state_dict"].items()
        if n.startswith("vision.")
    }
    states, build_loader = [], data.train_dataloader

    def recording_loader():
        states.append({name: module.state_dict()[name].clone() for name in expected})
        return build_loader()

    data.train_dataloader = recording_loader
    build_trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(module, data)
    assert states
    assert all(equal_states(state, expected) for state in states)


def test_checkpoint_of_an_initialised_fit_does_not_name_init_from(entities, tiny_bert, write):
    path = write(build_module(TextOnly, entities.schema, tiny_bert, seed=1))
    second = build_module(TextOnly, entities.schema, tiny_bert, seed=2, init_from=str(path))
    assert torch.load(write(second), weights_only=True)["mmie"]["init_args"]["init_from"] is None


@pytest.mark.slow
def test_entities_to_relations_by_the_command(demo_root, tmp_path, caplog):
    caplog.set_level("INFO", "lightning.pytorch.utilities.rank_zero")
    short = ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=1"]
    options = tiny_options("hvpnet", demo_root, tmp_path / "ner")
    succeed("fit", *options, *short)
    best = tmp_path / "ner" / "best.ckpt"
    relations = [*tiny_options("hvpnet", demo_root, tmp_path / "re"), "--data.task=re", *short]
    succeed("fit", *relations, f"--model.init_args.init_from={best}", "--model.init_args.text_lr=0")
    assert f"init_from {best}: took over" in caplog.text
    source = torch.load(best, weights_only=True)["state_dict"]
    ours = torch.load(tmp_path / "re" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(
        torch.equal(value, source[name]) for name, value in ours.items() if name.startswith("text.")
    )


@pytest.mark.slow
def test_fit_can_start_from_the_run_that_it_overwrites(demo_root, tmp_path):
    short = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    options = [*tiny_options("text_only", demo_root, tmp_path / "run"), *short]
    succeed("fit", *options)
    shutil.copy(tmp_path / "run" / "best.ckpt", tmp_path / "kept.ckpt")
    own = f"--model.init_args.init_from={tmp_path / 'run' / 'best.ckpt'}"
    succeed("fit", *options, "--overwrite=true", own, "--model.init_args.text_lr=0")
    source = torch.load(tmp_path / "kept.ckpt", weights_only=True)["state_dict"]
    ours = torch.load(tmp_path / "run" / "best.ckpt", weights_only=True)["state_dict"]
    assert all(
        torch.equal(value, source[name]) for name, value in ours.items() if name.startswith("text.")
    )


def test_unusable_checkpoints_give_one_line(demo_root, tmp_path):
    for name, reason in (
        ("missing.ckpt", "does not exist"),
        ("pyproject.toml", "is no checkpoint"),
    ):
        outcome = run(
            "fit",
            *tiny_options("text_only", demo_root, tmp_path / "run"),
            f"--model.init_args.init_from={name}",
        )
        assert outcome.status == 1
        assert outcome.err.splitlines()[-1].startswith("mmie: ")
        assert reason in outcome.err.splitlines()[-1]
