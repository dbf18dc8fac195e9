"""The `mmie` command from the outside: what it prints, how it ends, and what a wrong line is answered with."""

import pytest
import yaml
from helpers.command import (
    check_refused,
    finish,
    metrics,
    read_jsonl,
    run,
    start,
    succeed,
    tiny_options,
    write_jsonl,
)
from helpers.paths import CONFIGS

from mmie.cli.main import COMMANDS
from mmie.cli.parsing import shorten_message
from mmie.training.wandb_logger import WandbSettings, build_wandb_logger


@pytest.fixture
def texts(demo_root, tmp_path):
    """A copy of the demo corpus's texts that may be spoilt; its pictures are left out."""
    folder = tmp_path / "texts"
    for split in ("train", "valid", "test"):
        records = read_jsonl(demo_root / f"{split}.jsonl")
        write_jsonl(
            folder / f"{split}.jsonl",
            [{**record, "image": None, "crops": []} for record in records],
        )
    return folder


def test_without_arguments_and_for_help_all_commands_are_listed():
    for outcome, status in ((run(), 2), (run("--help"), 0), (run("-h"), 0)):
        assert outcome.status == status
        listed = {
            line.split()[0]: line.split()[1:]
            for line in outcome.out.splitlines()
            if line.startswith("  ")
        }
        assert set(listed) == set(COMMANDS) >= {"fit", "validate", "test", "predict", "corpus"}
        assert all(len(purpose) > 2 for purpose in listed.values())
        assert outcome.err == ""


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_every_command_explains_its_options(command):
    text = succeed(command, "--help").out
    for option in (
        "--run_dir",
        "--data.batch_size",
        "--trainer.max_epochs",
        "--model",
        "--config",
        "--ckpt_path",
    ):
        assert option in text


WRONG_LINES = {
    "option": (["--data.nope=3"], ["data.nope"]),
    "no option from its beginning": (["--data.batch=3"], ["--data.batch"]),
    "stray word": (["stray"], ["stray"]),
    "no value": (["--data.batch_size"], ["--data.batch_size", "expected one argument"]),
    "no integer": (["--data.batch_size=many"], ["data.batch_size", "int", "many"]),
    "no optional integer": (["--trainer.max_epochs=many"], ["trainer.max_epochs", "int", "many"]),
    "no number of the method": (["--model.text_lr=high"], ["model.text_lr", "float", "high"]),
    "no choice": (["--data.task=nerd"], ["data.task", "'ner', 're'", "nerd"]),
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
    "no share": (["--data.train_fraction=0"], ["train_fraction", "0"]),
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


@pytest.mark.parametrize(("extra", "parts"), WRONG_LINES.values(), ids=WRONG_LINES)
def test_a_wrong_line_is_answered_with_one(demo_root, tmp_path, extra, parts):
    check_refused(
        run("fit", *tiny_options("text_only", demo_root, tmp_path / "run"), *extra), *parts
    )
    assert not (tmp_path / "run").exists()


WRONG_PICTURES = {
    "no such backbone": (["--model.vision_backbone=resnet9999"], ["resnet9999"]),
    "weights out of reach": (["--model.pretrained=true"], ["encoder", "model.safetensors"]),
    "pictures too small for it": (["--data.image_size=16"], ["test_resnet", "16 pixels"]),
    "too many pictures too large": (
        ["--data.max_pixels=100"],
        ["pictures cannot be read", "max_missing"],
    ),
}


@pytest.mark.parametrize(("extra", "parts"), WRONG_PICTURES.values(), ids=WRONG_PICTURES)
def test_wrong_pictures_are_answered_with_one_line(demo_root, tmp_path, extra, parts):
    options = tiny_options("hvpnet", demo_root, tmp_path / "run")
    check_refused(run("fit", *options, *extra), *parts)
    assert (
        run(
            "fit", *options, "--trainer.limit_train_batches=1", "--trainer.limit_val_batches=1"
        ).status
        == 0
    )


WRONG_FILES = {
    "unknown key": ("modell: 3\n", ["modell"]),
    "unknown key of the trainer": ("trainer:\n  max_epoch: 3\n", ["trainer.max_epoch"]),
    "unknown key of the method": ("model:\n  init_args:\n    text_lrr: 1\n", ["model", "text_lrr"]),
    "wrong type": ("data:\n  batch_size: many\n", ["data.batch_size", "int", "many"]),
    "no YAML": ("trainer: [1\n", ["wrong.yaml", "line"]),
    "no mapping": ("- 1\n- 2\n", ["wrong.yaml"]),
}


@pytest.mark.parametrize(("text", "parts"), WRONG_FILES.values(), ids=WRONG_FILES)
def test_a_wrong_configuration_is_answered_with_one_line(demo_root, tmp_path, text, parts):
    (tmp_path / "wrong.yaml").write_text(text)
    options = tiny_options("text_only", demo_root, tmp_path / "run")
    check_refused(run("fit", *options, f"--config={tmp_path / 'wrong.yaml'}"), *parts)
    assert not (tmp_path / "run").exists()


def test_a_wrong_corpus_is_answered_with_one_line_and_blocks_nothing(texts, tiny_bert, tmp_path):
    options = [
        *tiny_options("text_only", texts, tmp_path / "run", tiny_bert),
        "--trainer.limit_train_batches=1",
    ]
    whole = (texts / "train.jsonl").read_text()
    (texts / "train.jsonl").write_text(whole + '{"id": "x", "words": []}\n')
    check_refused(run("fit", *options), f"{texts / 'train.jsonl'}:49", "at least one word")
    (texts / "train.jsonl").write_text(whole)
    (texts / "valid.jsonl").rename(texts / "hidden")
    check_refused(run("fit", *options), str(texts), "valid.jsonl")
    (texts / "hidden").rename(texts / "valid.jsonl")
    succeed("fit", *options)
    (texts / "test.jsonl").unlink()
    check_refused(run("test", *options), str(texts), "test.jsonl")


def test_a_task_without_labels_is_answered_with_one_line(texts, tiny_bert, tmp_path):
    write_jsonl(
        texts / "train.jsonl",
        [{**post, "relations": []} for post in read_jsonl(texts / "train.jsonl")],
    )
    options = tiny_options("text_only", texts, tmp_path / "run", tiny_bert)
    check_refused(run("fit", *options, "--data.task=re"), "task re", "ner")


def test_a_checkpoint_of_other_labels_is_answered_with_one_line(texts, tiny_bert, tmp_path):
    options = tiny_options("text_only", texts, tmp_path / "run", tiny_bert)
    succeed("fit", *options, "--trainer.limit_train_batches=1")
    check_refused(run("test", *options, "--data.tag_scheme=bioes"), "tag_scheme", "bio", "bioes")
    check_refused(run("test", *options, "--data.task=re"), "task", "ner", "re")
    other = ["--model=mmie.methods.RAP", "--model.vision_backbone=test_resnet"]
    encoder = [f"--model.text_encoder={tiny_bert}", "--model.pretrained=false"]
    check_refused(run("test", *options, *other, *encoder), "method", "TextOnly", "RAP")


def test_settings_that_are_missing_are_named():
    check_refused(run("fit"), "data.corpus", "data.task", "model", "--config")


def test_commands_that_do_not_exist_are_answered_with_those_that_do():
    check_refused(run("fitt"), "fitt", "fit", "corpus")
    check_refused(run("corpus", "nope"), "nope", "stats")
    check_refused(run("corpus"), "stats")


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_without_a_fit_there_is_nothing_to_score(demo_root, tmp_path, command):
    outcome = run(command, *tiny_options("text_only", demo_root, tmp_path / "run"))
    check_refused(outcome, str(tmp_path / "run" / "best.ckpt"), "--ckpt_path")
    assert not (tmp_path / "run").exists()


def test_debugging_shows_the_traceback(demo_root, tmp_path, monkeypatch):
    monkeypatch.setenv("MMIE_DEBUG", "1")
    options = tiny_options("text_only", demo_root, tmp_path / "run")
    for wrong in (
        "--data.batch_size=many",
        "--data.max_tokens=4096",
        "--data.corpus.root=/nowhere",
    ):
        with pytest.raises(Exception, match=r"many|4096|nowhere") as caught:
            run("fit", *options, wrong)
        assert caught.type is not SystemExit


@pytest.mark.parametrize(
    ("message", "short"),
    [
        (
            "Parser key \"a.b\":\n  Expected a <class 'int'>. Got value: x",
            "a.b: expected int, got x",
        ),
        (
            "Parser key \"a\":\n  Does not validate against any of the Union subtypes\n  Subtypes: [<class 'bool'>, "
            "<class 'int'>]\n  Errors:\n    - Expected a <class 'bool'>\n    - Expected a <class 'int'>\n"
            "  Given value type: <class 'str'>\n  Given value: x",
            "a: expected bool or int, got x",
        ),
        (
            "Parser key \"m\":\n  Problem with given class_path 'c.D':\n    Option 'e' is not accepted",
            "m: c.D: unknown key 'e'",
        ),
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


def test_a_later_configuration_lies_over_an_earlier_one(tmp_path):
    (tmp_path / "over.yaml").write_text(
        "model:\n  init_args:\n    dropout: 0.5\ntrainer:\n  max_epochs: 3\n"
    )
    over = f"--config={tmp_path / 'over.yaml'}"
    base = f"--config={CONFIGS / 'rap_mnre.yaml'}"
    config = succeed("fit", base, over, "--print_config").config
    assert (config["model"]["init_args"]["dropout"], config["trainer"]["max_epochs"]) == (0.5, 3)
    assert config["model"]["init_args"]["num_fusion_layers"] == 3
    assert config["data"]["corpus"]["class_path"] == "mmie.data.MNRE"


def test_the_line_has_the_last_word():
    changes = {
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
    options = [f"{name}={value}" for name, value in changes.items()]
    config = succeed(
        "fit", f"--config={CONFIGS / 'rap_mnre.yaml'}", *options, "--print_config"
    ).config
    for name, value in changes.items():
        found = config
        for key in name.removeprefix("--").split("."):
            found = found[key]
        assert found == value


def test_wandb_is_online_only_for_who_is_logged_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)

    def is_offline(**settings):
        return (
            build_wandb_logger(WandbSettings(**settings), tmp_path / "run")._wandb_init["mode"]
            == "offline"
        )

    assert is_offline()
    assert not is_offline(offline=False)
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert not is_offline()
    assert is_offline(offline=True)
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert is_offline()
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert not is_offline()
    assert is_offline(offline=True)
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert build_wandb_logger(WandbSettings(), tmp_path / "run")._wandb_init["mode"] == "disabled"


def test_processes_of_their_own(demo_root, tmp_path):
    """A fit with W&B, unanswered and unconnected; a wrong line, with nothing else on standard error."""
    home = {
        "HOME": str(tmp_path),
        "WANDB_MODE": "",
        "WANDB_API_KEY": "",
        "WANDB_BASE_URL": "http://127.0.0.1:9",
    }
    options = tiny_options("text_only", demo_root, tmp_path / "run")
    wandb = start(
        ["fit", *options, f"--config={CONFIGS / 'wandb.yaml'}", "--trainer.limit_train_batches=2"],
        **home,
    )
    wrong = start(
        [
            "fit",
            *options,
            f"--run_dir={tmp_path / 'other'}",
            "--data.max_pixels=10",
            "--data.pictures=right",
        ]
    )
    fitted, failed = finish(wandb), finish(wrong)
    assert fitted.status == 0, fitted.err
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))
    assert not [path for path in tmp_path.iterdir() if path.name == "wandb"]
    assert metrics(tmp_path / "run")["fit"]
    assert str(tmp_path / "run" / "best.ckpt") in fitted.out
    check_refused(failed, "pictures cannot be read")
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["wandb"]["project"] == "mmie"
    assert not any((tmp_path / "other").glob("*"))


@pytest.mark.parametrize(
    "setting", ["data.num_workers", "data.train_fraction", "data.corpus.strict", "model.dropout"]
)
def test_null_is_refused_where_a_setting_takes_none(demo_root, tmp_path, setting):
    config = tmp_path / "null.yaml"
    *sections, name = setting.split(".")
    inner = {name: None}
    for section in reversed([*sections, "init_args"] if sections != ["data"] else sections):
        inner = {section: inner}
    config.write_text(yaml.safe_dump(inner))
    ended = run(
        "fit", *tiny_options("text_only", demo_root, tmp_path / "run"), f"--config={config}"
    )
    assert ended.status == 2
    assert ended.err.startswith(f"mmie: {setting} is null: expected ")
