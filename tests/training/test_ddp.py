"""Two processes give the numbers of one, though they do not divide the splits evenly."""

import pytest
import torch
from helpers.command import (
    check_same_predictions,
    finish,
    metrics,
    predictions,
    read_jsonl,
    scored_section,
    start,
    succeed,
    tiny_options,
    write_jsonl,
)
from helpers.fits import check_success, fork_distributed
from helpers.fitted_runs import TASKS, fit_options

pytestmark = pytest.mark.slow

POSTS = 15
"""Posts of the evaluation splits: batches of 4 divide them on neither 1 nor 2 processes."""
TWO_PROCESSES = ["--trainer.devices=2", "--trainer.strategy=ddp"]


@pytest.fixture(scope="module")
def odd_corpus(demo_root, tmp_path_factory):
    """Demo corpus with evaluation splits of an odd number of posts."""
    folder = tmp_path_factory.mktemp("corpus") / "odd"
    for split, count in (("train", 48), ("valid", POSTS), ("test", POSTS)):
        write_jsonl(folder / f"{split}.jsonl", read_jsonl(demo_root / f"{split}.jsonl")[:count])
    for name in ("images", "crops", "encoder"):
        (folder / name).mkdir()
        for file in (demo_root / name).iterdir():
            (folder / name / file.name).hardlink_to(file)
    return folder


@pytest.fixture(scope="module")
def trained(odd_corpus, tmp_path_factory):
    """Folder with a run of one process for each task."""
    folder = tmp_path_factory.mktemp("trained")
    for task in TASKS:
        succeed("fit", *fit_options(odd_corpus, folder / task, task), "--trainer.max_epochs=4")
    return folder


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """Folder with a run ``COMMAND_TASK_PROCESSES`` for each command, each task, and 1 or 2."""
    folder = tmp_path_factory.mktemp("evaluated")
    for task in TASKS:
        for command in ("test", "validate", "predict"):
            line = [
                command,
                f"--config={trained / task / 'config.yaml'}",
                f"--ckpt_path={trained / task / 'best.ckpt'}",
            ]
            succeed(*line, f"--run_dir={folder / f'{command}_{task}_1'}")
            two = f"--run_dir={folder / f'{command}_{task}_2'}"
            check_success(*fork_distributed(2, *line, two))
    return folder


@pytest.mark.parametrize("task", TASKS)
def test_two_processes_have_the_scores_of_one(evaluated, task):
    for command, prefix in (("test", "test"), ("validate", "val")):
        one = scored_section(evaluated / f"{command}_{task}_1", command)
        two = scored_section(evaluated / f"{command}_{task}_2", command)
        loss = one.pop(f"{prefix}/loss")
        # rounding depends on the other posts of a batch
        assert loss == pytest.approx(two.pop(f"{prefix}/loss"), rel=1e-5)
        for section in (one, two):
            section.pop("predictions_sha256", None)  # of probabilities, which round as well
        assert one == two
        assert 0 < one[f"{prefix}/f1"] < 1, "0 or 1 would hide a sample that counts twice"


@pytest.mark.parametrize("task", TASKS)
def test_two_processes_have_the_predictions_of_one(evaluated, odd_corpus, task):
    instances = []
    for post in read_jsonl(odd_corpus / "test.jsonl"):
        instances += [post["id"]] * (1 if task == "ner" else len(post["relations"]))
    assert len(instances) % 8 != 0
    for name in (f"test_{task}_2", f"predict_{task}_1", f"predict_{task}_2"):
        check_same_predictions(evaluated / f"test_{task}_1", evaluated / name)
    assert [line["id"] for line in predictions(evaluated / f"predict_{task}_2")] == instances


def test_two_processes_train_one_model(odd_corpus, tmp_path):
    # the command starts the second process by itself, as for a user
    options = tiny_options("rap", odd_corpus, tmp_path / "run")
    digests = [
        "--trainer.callbacks=helpers.command.WeightDigest",
        f"--trainer.callbacks.folder={tmp_path}",
    ]
    outcome = finish(start(["fit", *options, *TWO_PROCESSES, *digests, "--trainer.max_epochs=2"]))
    assert outcome.status == 0, outcome.err
    digest = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert digest["before_0"] == digest["before_1"] != digest["after_0"] == digest["after_1"]
    assert [epoch["epoch"] for epoch in metrics(tmp_path / "run")["fit"]["epochs"]] == [0, 1]
    last = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 2 * 48 // 8
    assert outcome.out.count("best epoch") == 1
