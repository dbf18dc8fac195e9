"""`mmie fit`, `validate`, `test` and `predict`: run folders, checkpoints, corpora and processes."""

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
import torch
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
from helpers.fitted_runs import fit_options
from helpers.paths import CONFIGS

from mmie.cli.lightning import MmieCLI, feature_folder
from mmie.utils.locks import folder_lock
from mmie.utils.version import VERSION

pytestmark = pytest.mark.slow


@pytest.fixture
def texts(demo_root, tmp_path):
    """Folder of the demo corpus's texts without pictures, which a test may change."""
    folder = tmp_path / "texts"
    for split in ("train", "valid", "test"):
        posts = read_jsonl(demo_root / f"{split}.jsonl")
        bare = [{**post, "image": None, "crops": []} for post in posts]
        write_jsonl(folder / f"{split}.jsonl", bare)
    return folder


def read_files(folder):
    """Read the content of a folder's files by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_used_run_folder_is_refused(fitted_run, demo_root):
    before = read_files(fitted_run)
    outcome = run("fit", *fit_options(demo_root, fitted_run))
    assert outcome.status != 0
    assert outcome.err.count("\n") == 1
    for part in (str(fitted_run), "--run_dir", "--ckpt_path", "--overwrite true"):
        assert part in outcome.err
    assert read_files(fitted_run) == before


def test_a_checkpoint_of_another_folder_does_not_open_a_used_one(
    fitted_runs, fitted_run, demo_root
):
    checkpoint = f"--ckpt_path={fitted_runs / 'ner' / 'last.ckpt'}"
    outcome = run("fit", *fit_options(demo_root, fitted_run), checkpoint)
    assert outcome.status != 0
    assert "holds a run already" in outcome.err


def test_a_wrong_setting_leaves_a_run_that_was_to_be_overwritten(fitted_run, demo_root):
    before = read_files(fitted_run)
    options = fit_options(demo_root, fitted_run)
    outcome = run("fit", *options, "--overwrite=true", "--data.max_tokens=4096")
    assert outcome.status != 0
    assert read_files(fitted_run) == before


@pytest.mark.parametrize("command", ["validate", "test", "predict"])
def test_a_run_folder_without_a_fit_is_refused(demo_root, tmp_path, command):
    outcome = run(command, *tiny_options("text_only", demo_root, tmp_path / "run"))
    check_refused(outcome, str(tmp_path / "run" / "best.ckpt"), "--ckpt_path")
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_is_named_stands_for_its_configuration_and_best_checkpoint(
    fitted_runs, fitted_run, tmp_path
):
    """The folder is a copy: its configuration names the original."""
    original = read_files(fitted_runs / "ner")
    succeed("test", fitted_run)
    succeed("test", "--seed_everything", "5", fitted_run, "--data.pictures=shuffled")
    sections = metrics(fitted_run)
    assert sections["test"]["checkpoint"] == str(fitted_run / "best.ckpt")
    assert {"fit", "test", "test_shuffled"} <= set(sections)
    other = tmp_path / "other"
    succeed("predict", fitted_run, f"--run_dir={other}", f"--ckpt_path={fitted_runs / 'ner'}")
    assert (other / "unscored.jsonl").exists()
    assert not (fitted_run / "unscored.jsonl").exists()
    (fitted_run / "best.ckpt").unlink()
    check_refused(run("validate", fitted_run), str(fitted_run / "best.ckpt"), "--ckpt_path")
    assert read_files(fitted_runs / "ner") == original


def test_a_checkpoint_of_other_labels_is_refused_in_one_line(texts, tiny_bert, tmp_path):
    options = tiny_options("text_only", texts, tmp_path / "run", tiny_bert)
    succeed("fit", *options, "--trainer.limit_train_batches=1")
    outcome = run("test", *options, "--data.tag_scheme=bioes")
    check_refused(outcome, "tag_scheme", "bio", "bioes")
    check_refused(run("test", *options, "--data.task=re"), "task", "ner", "re")
    other_method = [
        "--model=mmie.methods.RAP",
        "--model.vision_backbone=test_resnet",
        f"--model.text_encoder={tiny_bert}",
        "--model.pretrained=false",
    ]
    check_refused(run("test", *options, *other_method), "method", "TextOnly", "RAP")


def test_a_wrong_corpus_is_refused_in_one_line_and_does_not_block_the_folder(
    texts, tiny_bert, tmp_path
):
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


def test_only_the_parser_of_the_named_subcommand_is_built(demo_root, tmp_path):
    name = "add_arguments_to_parser"
    with mock.patch.object(MmieCLI, name, autospec=True, side_effect=getattr(MmieCLI, name)) as add:
        succeed("fit", *fit_options(demo_root, tmp_path), "--print_config")
    assert add.call_count == 1


def test_a_task_without_labels_is_refused_in_one_line(texts, tiny_bert, tmp_path):
    posts = read_jsonl(texts / "train.jsonl")
    write_jsonl(texts / "train.jsonl", [{**post, "relations": []} for post in posts])
    options = tiny_options("text_only", texts, tmp_path / "run", tiny_bert)
    check_refused(run("fit", *options, "--data.task=re"), "task re", "ner")


def test_a_fit_with_wandb_needs_neither_login_nor_network(demo_root, tmp_path):
    # a second process checks that nothing else is on standard error beside a refusal
    unreachable = {
        "HOME": str(tmp_path),
        "WANDB_MODE": "",
        "WANDB_API_KEY": "",
        "WANDB_BASE_URL": "http://127.0.0.1:9",
    }
    run_dir, other_dir = tmp_path / "run", tmp_path / "other"
    options = tiny_options("text_only", demo_root, run_dir)
    with_wandb = [f"--config={CONFIGS / 'wandb.yaml'}", "--trainer.limit_train_batches=2"]
    wrong = [f"--run_dir={other_dir}", "--data.max_pixels=10", "--data.pictures=right"]
    fit = start(["fit", *options, *with_wandb], **unreachable)
    wrong_fit = start(["fit", *options, *wrong])
    fitted, refused = finish(fit), finish(wrong_fit)
    assert fitted.status == 0, fitted.err
    assert list((run_dir / "wandb").glob("offline-run-*"))
    assert not [path for path in tmp_path.iterdir() if path.name == "wandb"]
    assert metrics(run_dir)["fit"]
    assert str(run_dir / "best.ckpt") in fitted.out
    check_refused(refused, "pictures cannot be read")
    saved = yaml.safe_load((run_dir / "config.yaml").read_text())
    assert saved["wandb"]["project"] == "mmie"
    assert not any(other_dir.glob("*"))


def test_a_run_folder_has_one_writer(fitted_run, demo_root):
    before = read_files(fitted_run)
    options = fit_options(demo_root, fitted_run)
    commands = [
        ["fit", *options, "--ckpt_path=last"],
        ["fit", *options, "--overwrite=true"],
        ["test", *options],
    ]
    with folder_lock(fitted_run), ThreadPoolExecutor(1) as pool:
        for command in commands:
            outcome = pool.submit(run, *command).result()
            check_refused(outcome, f"{fitted_run} is being written by process {os.getpid()} on ")
    assert read_files(fitted_run) == before
    succeed("test", *options)
    assert not list(fitted_run.glob(".*lock*"))


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("max_epochs=0", "trainer.max_epochs is 0: nothing is left to fit"),
        ("max_steps=0", "trainer.max_steps is 0: nothing is left to fit"),
        ("limit_train_batches=0", "trainer.limit_train_batches is 0: nothing is left to fit"),
        ("overfit_batches=2", "give a small data.train_fraction"),
        ("precision=16-true", "trainer.precision is 16-true: expected one of 32-true, 16-mixed"),
        ("precision=64-true", "trainer.precision is 64-true: expected one of 32-true, 16-mixed"),
    ],
)
def test_a_trainer_that_cannot_train_is_refused(demo_root, tmp_path, setting, reason):
    outcome = run("fit", *fit_options(demo_root, tmp_path / "run"), f"--trainer.{setting}")
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert reason in outcome.err
    assert not (tmp_path / "run" / "config.yaml").exists()


@pytest.mark.parametrize(
    ("command", "limit"), [("test", "test"), ("predict", "predict"), ("validate", "val")]
)
def test_nothing_to_score_is_refused(fitted_run, demo_root, command, limit):
    setting = f"--trainer.limit_{limit}_batches=0"
    outcome = run(command, *fit_options(demo_root, fitted_run), setting)
    assert (outcome.status, outcome.err.count("\n")) == (2, 1)
    assert f"is 0: nothing is left to {command}" in outcome.err


@pytest.mark.parametrize("content", ["", "[]", '{"fit": '])
def test_a_damaged_record_is_reported_before_a_test_computes(fitted_run, demo_root, content):
    (fitted_run / "metrics.json").write_text(content)
    outcome = run("test", *fit_options(demo_root, fitted_run))
    assert (outcome.status, outcome.err.count("\n")) == (1, 1)
    assert "metrics.json is damaged" in outcome.err
    assert not (fitted_run / "predictions.jsonl").exists()


@pytest.mark.parametrize("command", ["test", "fit"])
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda content: content["state_dict"].pop("head.emission.weight"), "Missing key"),
        (lambda content: content["state_dict"].update(other=torch.zeros(2)), "Unexpected key"),
        (lambda content: content["mmie"].pop("schema"), "'schema'"),
        (lambda content: content["mmie"]["schema"].pop("tag_scheme"), "'tag_scheme'"),
        (lambda content: content.update(mmie=[1]), "does not fit"),
    ],
)
def test_a_checkpoint_that_lacks_something_is_refused(
    fitted_run, demo_root, command, change, reason
):
    (fitted_run / "metrics.json").unlink()  # as if another version had written the checkpoint
    content = torch.load(fitted_run / "last.ckpt", weights_only=True)
    change(content)
    torch.save(content, fitted_run / "last.ckpt")
    options = [*fit_options(demo_root, fitted_run), "--trainer.max_epochs=9"]
    outcome = run(command, *options, "--ckpt_path=last")
    assert (outcome.status, outcome.err.count("\n")) == (1, 1)
    assert f"this is mmie {VERSION}: load it with the version" in outcome.err
    assert reason in outcome.err


@pytest.mark.parametrize("setting", [None, "off", "None", "false"])
def test_the_feature_store_can_be_switched_off(setting):
    assert feature_folder(setting) is None
    assert feature_folder("./off") == Path("off")
