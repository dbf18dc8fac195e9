"""Wrong options and settings in one line, and configurations that are laid over one another."""

import pytest
import yaml
from helpers.command import check_refused, run, succeed, tiny_options
from helpers.paths import CONFIGS

from mmie.cli.parsing import shorten_message

WRONG_LINES = {
    "option": (["--data.nope=3"], ["data.nope"]),
    "abbreviated option": (["--data.batch=3"], ["--data.batch"]),
    "stray word": (["stray"], ["stray"]),
    "missing value": (["--data.batch_size"], ["--data.batch_size", "expected one argument"]),
    "no integer": (["--data.batch_size=many"], ["data.batch_size", "int", "many"]),
    "no optional integer": (["--trainer.max_epochs=many"], ["trainer.max_epochs", "int", "many"]),
    "no number of the method": (["--model.text_lr=high"], ["model.text_lr", "float", "high"]),
    "no choice": (["--data.task=nerd"], ["data.task", "ner, re", "nerd"]),
    "no choice of the method": (
        ["--model.pooling=max"],
        ["model.pooling", "'cls', 'entities'", "max"],
    ),
    "key of the method": (["--model.text_lrr=1"], ["model", "text_lrr"]),
    "key of the corpus": (["--data.corpus.rooot=x"], ["data.corpus", "rooot"]),
    "key of wandb": (["--wandb.projekt=x"], ["wandb", "projekt"]),
    "method": (["--model=mmie.methods.Nope"], ["model", "Nope"]),
    "method by path": (["--model.class_path=nowhere.Nope"], ["model", "nowhere"]),
    "corpus class": (["--data.corpus=Nope"], ["data.corpus", "Nope"]),
    "callback": (["--trainer.callbacks=Nope"], ["trainer.callbacks", "Nope"]),
    "config": (["--config=configs/nope.yaml"], ["config", "configs/nope.yaml", "not exist"]),
    "corpus folder": (
        ["--data.corpus.root=/nowhere/corpus"],
        ["/nowhere/corpus", "no such folder"],
    ),
    "encoder": (["--model.text_encoder=no-such-bert"], ["no-such-bert", "folder"]),
    "encoder longer than its positions": (
        ["--data.max_tokens=4096"],
        ["4096", "max_tokens", "128"],
    ),
    "too few tokens": (["--data.max_tokens=3"], ["max_tokens", "3"]),
    "no posts in a batch": (["--data.batch_size=0"], ["batch_size", "0"]),
    "fraction of 0": (["--data.train_fraction=0"], ["train_fraction", "0"]),
    "strategy": (["--trainer.strategy=nope"], ["strategy", "nope"]),
    "accelerator": (["--trainer.accelerator=nope"], ["accelerator", "nope"]),
    "devices": (["--trainer.devices=no"], ["trainer", "devices"]),
    "batch norms": (
        ["--trainer.sync_batchnorm=true", "--trainer.devices=2", "--trainer.strategy=ddp"],
        ["trainer.sync_batchnorm", "GPUs"],
    ),
    "checkpoint": (["--ckpt_path=/nowhere/a.ckpt"], ["/nowhere/a.ckpt", "not exist"]),
    "no checkpoint": (["--ckpt_path=pyproject.toml"], ["pyproject.toml", "no checkpoint"]),
    "run folder that is a file": (["--run_dir=pyproject.toml"], ["pyproject.toml", "folder"]),
}


@pytest.mark.slow
@pytest.mark.parametrize(("extra", "parts"), WRONG_LINES.values(), ids=WRONG_LINES)
def test_a_wrong_option_is_refused_in_one_line(demo_root, tmp_path, extra, parts):
    options = tiny_options("text_only", demo_root, tmp_path / "run")
    check_refused(run("fit", *options, *extra), *parts)
    assert not (tmp_path / "run").exists()


WRONG_PICTURES = {
    "unknown backbone": (["--model.vision_backbone=resnet9999"], ["resnet9999"]),
    "unavailable weights": (["--model.pretrained=true"], ["encoder", "model.safetensors"]),
    "pictures too small for the backbone": (["--data.image_size=16"], ["test_resnet", "16 pixels"]),
    "too many oversized pictures": (
        ["--data.max_pixels=100"],
        ["pictures cannot be read", "max_missing"],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(("extra", "parts"), WRONG_PICTURES.values(), ids=WRONG_PICTURES)
def test_a_wrong_setting_of_pictures_does_not_block_the_folder(demo_root, tmp_path, extra, parts):
    options = tiny_options("hvpnet", demo_root, tmp_path / "run")
    check_refused(run("fit", *options, *extra), *parts)
    one_batch = ["--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"]
    assert run("fit", *options, *one_batch).status == 0


WRONG_FILES = {
    "unknown key": ("modell: 3\n", ["modell"]),
    "unknown key of the trainer": ("trainer:\n  max_epoch: 3\n", ["trainer.max_epoch"]),
    "unknown key of the method": ("model:\n  init_args:\n    text_lrr: 1\n", ["model", "text_lrr"]),
    "wrong type": ("data:\n  batch_size: many\n", ["data.batch_size", "int", "many"]),
    "no YAML": ("trainer: [1\n", ["wrong.yaml", "line"]),
    "no mapping": ("- 1\n- 2\n", ["wrong.yaml"]),
}


@pytest.mark.slow
@pytest.mark.parametrize(("text", "parts"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_configuration_is_refused_in_one_line(demo_root, tmp_path, text, parts):
    (tmp_path / "wrong.yaml").write_text(text)
    options = tiny_options("text_only", demo_root, tmp_path / "run")
    check_refused(run("fit", *options, f"--config={tmp_path / 'wrong.yaml'}"), *parts)
    assert not (tmp_path / "run").exists()


def test_missing_settings_are_named():
    check_refused(run("fit"), "data.corpus", "data.task", "model", "--config")


@pytest.mark.parametrize(
    ("section", "name"),
    [
        (["data"], "num_workers"),
        (["data"], "train_fraction"),
        (["data", "corpus", "init_args"], "strict"),
        (["model", "init_args"], "dropout"),
    ],
)
def test_null_is_refused_where_a_setting_admits_none(demo_root, tmp_path, section, name):
    tree = {name: None}
    for key in reversed(section):
        tree = {key: tree}
    config = tmp_path / "null.yaml"
    config.write_text(yaml.safe_dump(tree))
    options = tiny_options("text_only", demo_root, tmp_path / "run")
    outcome = run("fit", *options, f"--config={config}")
    assert outcome.status == 2
    setting = ".".join([*section, name]).replace("init_args.", "")
    assert outcome.err.startswith(f"mmie: {setting} is null: expected ")


UNION_MESSAGE = """Parser key "a":
  Does not validate against any of the Union subtypes
  Subtypes: [<class 'bool'>, <class 'int'>]
  Errors:
    - Expected a <class 'bool'>
    - Expected a <class 'int'>
  Given value type: <class 'str'>
  Given value: x"""
CLASS_MESSAGE = """Parser key "m":
  Problem with given class_path 'c.D':
    Option 'e' is not accepted"""


@pytest.mark.parametrize(
    ("message", "short"),
    [
        (
            "Parser key \"a.b\":\n  Expected a <class 'int'>. Got value: x",
            "a.b: expected int, got x",
        ),
        (UNION_MESSAGE, "a: expected bool or int, got x"),
        (CLASS_MESSAGE, "m: c.D: unknown key 'e'"),
        ("unrecognized arguments: --x 3", "unrecognized arguments: --x 3"),
        (
            "Parser key \"a\":\n  Expected a <class 'int'>. Got value: " + "x" * 500,
            f"a: expected int, got {'x' * 76}...",
        ),
        ("a message\nof two lines", "a message, of two lines"),
    ],
)
def test_messages_of_the_parser_are_shortened(message, short):
    assert shorten_message(message) == short


def test_a_later_configuration_changes_single_settings_of_an_earlier_one(tmp_path):
    (tmp_path / "over.yaml").write_text(
        "model:\n  init_args:\n    dropout: 0.5\ntrainer:\n  max_epochs: 3\n"
    )
    configs = [f"--config={CONFIGS / 'rap_mnre.yaml'}", f"--config={tmp_path / 'over.yaml'}"]
    config = succeed("fit", *configs, "--print_config").config
    assert config["model"]["init_args"]["dropout"] == 0.5
    assert config["trainer"]["max_epochs"] == 3
    assert config["model"]["init_args"]["num_fusion_layers"] == 3
    assert config["data"]["corpus"]["class_path"] == "mmie.data.MNRE"


def test_options_override_configurations():
    values = {
        "--trainer.max_epochs": 2,
        "--data.task": "ner",
        "--data.batch_size": 3,
        "--seed_everything": 9,
        "--run_dir": "elsewhere",
        "--model.init_args.num_fusion_layers": 5,
        "--data.corpus.init_args.root": "my/corpus",
        "--trainer.gradient_clip_val": 1.0,
        "--wandb.project": "mine",
    }
    options = [f"{name}={value}" for name, value in values.items()]
    base = f"--config={CONFIGS / 'rap_mnre.yaml'}"
    config = succeed("fit", base, *options, "--print_config").config
    for name, expected in values.items():
        value = config
        for key in name.removeprefix("--").split("."):
            value = value[key]
        assert value == expected


@pytest.mark.parametrize(
    "arguments",
    [
        ["fit", f"--run_dir={'r' * 300}"],
        ["fit", f"--run_dir=runs/{'é' * 120}"],
        ["fit", f"--run_dir={'runs/' * 1000}"],
        ["fit", f"--feature_store={'s' * 300}"],
        ["extract", "posts.jsonl", "--ner=a.ckpt", f"--out={'o' * 300}.jsonl"],
        ["convert", "found.jsonl", f"--out={'o' * 300}.csv"],
        ["export", "--checkpoint=a.ckpt", f"--out={'o' * 300}"],
        ["compare", "runs", f"--out={'o' * 300}"],
        ["corpus", "demo", f"--root={'o' * 300}"],
    ],
)
def test_names_that_are_too_long_are_refused_at_once(arguments):
    outcome = run(*arguments)
    assert outcome.status == 2
    assert outcome.err.count("\n") == 1
    assert "too long" in outcome.err
