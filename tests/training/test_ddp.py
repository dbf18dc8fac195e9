"""Two processes give the numbers of one, though the splits do not divide evenly."""

import json
import socket
import subprocess
import sys

import pytest
import torch
from helpers.command import (
    REPOSITORY,
    check_same_predictions,
    finish,
    metrics,
    predictions,
    read_jsonl,
    single_thread_environment,
    start,
    succeed,
    tiny_options,
    write_jsonl,
)

SEQUENCE = """
import json, sys
from mmie.cli import main
for arguments in json.loads(sys.stdin.read()):
    sys.argv = ["mmie", *arguments]
    main()
"""
"""Several commands in one process, since starting one takes longer than any of them."""
POSTS = 15
"""Posts of the evaluation splits, in batches of 4: neither 1 nor 2 processes divide them."""
TWO = ["--trainer.devices=2", "--trainer.strategy=ddp"]
TASKS = ("ner", "re")


@pytest.fixture(scope="module")
def corpus(demo_root, tmp_path_factory):
    """The demo corpus with evaluation splits of an odd number of posts."""
    folder = tmp_path_factory.mktemp("corpus") / "odd"
    for split, count in (("train", 48), ("valid", POSTS), ("test", POSTS)):
        write_jsonl(folder / f"{split}.jsonl", read_jsonl(demo_root / f"{split}.jsonl")[:count])
    for name in ("images", "crops", "encoder"):
        (folder / name).mkdir()
        for file in (demo_root / name).iterdir():
            (folder / name / file.name).hardlink_to(file)
    return folder


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """A run folder for each task, fitted by one process."""
    folder = tmp_path_factory.mktemp("trained")
    for task in TASKS:
        rates = ["--model.text_lr=0.003", "--model.head_lr=0.02", "--trainer.max_epochs=4"]
        succeed(
            "fit", *tiny_options("text_only", corpus, folder / task), f"--data.task={task}", *rates
        )
    return folder


@pytest.fixture(scope="module")
def scored(trained, tmp_path_factory):
    """For one process and for two, a folder with what each command leaves for each task."""
    folder = tmp_path_factory.mktemp("scored")
    commands = {1: [], 2: []}
    for processes, lines in commands.items():
        for task in TASKS:
            for command in ("test", "validate", "predict"):
                line = [command, f"--config={trained / task / 'config.yaml'}"]
                line += [f"--ckpt_path={trained / task / 'best.ckpt'}"]
                line += [f"--run_dir={folder / f'{command}_{task}_{processes}'}"]
                lines.append(line + (TWO if processes == 2 else []))
    for line in commands[1]:
        succeed(*line)
    run_on_two(commands[2])
    return folder


def run_on_two(lines):
    """Run several commands, one after the other, in two processes that know of each other."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free.getsockname()[1]),
            "NODE_RANK": "0",
        }
    command = [sys.executable, "-c", SEQUENCE]
    pipes = {
        "stdin": subprocess.PIPE,
        "stdout": subprocess.DEVNULL,
        "stderr": subprocess.PIPE,
        "text": True,
    }
    processes = [
        subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env=single_thread_environment(LOCAL_RANK=str(rank), **where),
            **pipes,
        )
        for rank in range(2)
    ]
    try:
        for process in processes:
            process.stdin.write(json.dumps([list(map(str, line)) for line in lines]))
            process.stdin.close()
            process.stdin = None
        errors = [process.communicate(timeout=240)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)


@pytest.mark.parametrize("task", TASKS)
def test_two_processes_score_as_one(scored, task):
    for command, prefix in (("test", "test"), ("validate", "val")):
        one, two = (
            metrics(scored / f"{command}_{task}_{processes}")[command] for processes in (1, 2)
        )
        losses = one.pop(f"{prefix}/loss"), two.pop(f"{prefix}/loss")
        assert one == two
        assert losses[0] == pytest.approx(
            losses[1], rel=1e-5
        )  # other company in a batch, other last digits
        assert 0 < one[f"{prefix}/f1"] < 1, "all or nothing would hide a sample that counts twice"


@pytest.mark.parametrize("task", TASKS)
def test_two_processes_answer_as_one(scored, corpus, task):
    posts = read_jsonl(corpus / "test.jsonl")
    instances = [
        post["id"] for post in posts for _ in range(1 if task == "ner" else len(post["relations"]))
    ]
    assert len(instances) % 8 != 0
    one, *others = (
        scored / f"{command}_{task}_{count}" for command in ("test", "predict") for count in (1, 2)
    )
    for other in others:
        check_same_predictions(one, other)
    assert [line["id"] for line in predictions(scored / f"predict_{task}_2")] == instances


def test_two_processes_train_one_model(corpus, tmp_path):
    """As a user starts it: Lightning starts the second process by itself."""
    options = tiny_options("rap", corpus, tmp_path / "run")
    digests = [
        "--trainer.callbacks=helpers.command.WeightDigest",
        f"--trainer.callbacks.folder={tmp_path}",
    ]
    outcome = finish(start(["fit", *options, *TWO, *digests, "--trainer.max_epochs=2"]))
    assert outcome.status == 0, outcome.err
    digest = {path.name: path.read_text() for path in tmp_path.iterdir() if path.is_file()}
    assert digest["before_0"] == digest["before_1"] != digest["after_0"] == digest["after_1"]
    assert [epoch["epoch"] for epoch in metrics(tmp_path / "run")["fit"]["epochs"]] == [0, 1]
    last = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)
    assert last["global_step"] == 2 * 48 // 8
    assert outcome.out.count("best epoch") == 1
