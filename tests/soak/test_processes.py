"""Two and four processes give what one gives; one that dies, or a signal, ends them all."""

import json
import multiprocessing
import random
import shutil
import signal
import socket
import time

import pytest
import torch
import torch.distributed as dist
from helpers.command import (
    check_same_predictions,
    finish,
    metrics,
    read_jsonl,
    start,
    succeed,
    tiny_options,
    write_jsonl,
)
from helpers.fits import fit_result, fork_distributed, wait_for_exit, wait_for_file
from safetensors import safe_open

from mmie.training.features import cache as feature_store
from mmie.training.features.cache import FeatureCache

STORED = ("rap", "hvpnet", "mlnet")
"""Methods with a frozen backbone, whose features are kept."""
METHODS = ("imm", "mlnet", "hvpnet", "text_only", "rap", "dghc", "rsrnet")
STILL = {
    "dghc": ["--model.vision_backbone=test_vit"],
    "imm": ["--model.beta=0"],
    "mlnet": ["--model.lstm_dropout=0"],
}
"""What leaves nothing to chance, as dropout and augmented pictures would, and has no batch norms in a backbone that is
trained: of them each process sees its own share alone, unless they are synchronised, which takes GPUs."""


def together(count, *arguments):
    """``mmie ARGUMENTS`` in several processes; none may fail."""
    assert [wait_for_exit(process) for process in fork_distributed(count, *arguments)] == [
        0
    ] * count


@pytest.fixture(scope="module")
def corpus(demo_root, tmp_path_factory):
    """The demo corpus with 13 test posts, which neither 2 nor 4 processes divide, in batches of 2."""
    folder = tmp_path_factory.mktemp("corpus") / "odd"
    for split, count in (("train", 48), ("valid", 13), ("test", 13)):
        write_jsonl(folder / f"{split}.jsonl", read_jsonl(demo_root / f"{split}.jsonl")[:count])
    for name in ("images", "crops", "encoder"):
        shutil.copytree(demo_root / name, folder / name)
    return folder


@pytest.mark.parametrize("task", ["ner", "re"])
def test_any_number_of_processes_scores_and_answers_as_one(corpus, tmp_path, task):
    options = [
        *tiny_options("text_only", corpus, tmp_path / "1"),
        f"--data.task={task}",
        "--data.batch_size=2",
    ]
    succeed(
        "fit", *options, "--model.text_lr=0.003", "--model.head_lr=0.02", "--trainer.max_epochs=3"
    )
    succeed("test", *options)
    one = metrics(tmp_path / "1")["test"]
    assert 0 < one["test/f1"] < 1, "all or nothing would hide a sample that counts twice"
    for count in (2, 4):
        checkpoint = f"--ckpt_path={tmp_path / '1' / 'best.ckpt'}"
        together(count, "test", *options, f"--run_dir={tmp_path / str(count)}", checkpoint)
        many = metrics(tmp_path / str(count))["test"]
        assert many.pop("test/loss") == pytest.approx(one["test/loss"], rel=1e-5)
        assert many == {name: value for name, value in one.items() if name != "test/loss"}
        check_same_predictions(tmp_path / "1", tmp_path / str(count))


def first_gradients(run_dir):
    """What a first step of the optimiser has seen, from its first moments: (1 - beta) g of every parameter.

    Of embeddings, the rows that are not 0, in their order: whether a used row with a gradient of 0 has moments, and in
    which place, depends on the layout.
    """
    (state,) = torch.load(run_dir / "last.ckpt", weights_only=True)["optimizer_states"]
    return [
        rows_of(part) if "rows" in part else part["exp_avg"] for part in state["state"].values()
    ]


def rows_of(part):
    """The moments of an embedding that are not 0, by row."""
    moments = part["exp_avg"][part["rows"].argsort()]
    return moments[moments.any(1)]


def test_gradients_are_those_of_one_process_with_the_joint_batch(corpus, tmp_path, rounds):
    for method in METHODS[: rounds(2, len(METHODS))]:
        step = [
            "--trainer.limit_train_batches=1",
            "--model.dropout=0",
            "--trainer.limit_val_batches=1",
            *STILL.get(method, []),
        ]
        options = [
            *tiny_options(method, corpus, tmp_path / method),
            *step,
            f"--model.text_encoder={quiet(corpus, tmp_path)}",
        ]
        succeed("fit", *options, "--data.batch_size=8", f"--run_dir={tmp_path / method / '1'}")
        expected = first_gradients(tmp_path / method / "1")
        for count in (2, 4):
            run_dir = tmp_path / method / str(count)
            together(
                count, "fit", *options, f"--data.batch_size={8 // count}", f"--run_dir={run_dir}"
            )
            gradients = first_gradients(run_dir)
            assert len(gradients) == len(expected) > 10
            for gradient, one in zip(gradients, expected, strict=True):
                torch.testing.assert_close(
                    gradient, one, rtol=1e-3, atol=1e-6, msg=f"{method}, {count} processes"
                )


@pytest.mark.parametrize("method", ["imm", "mlnet"])
def test_a_process_whose_posts_have_no_picture_compares_those_of_the_others(
    corpus, tmp_path, method
):
    without = shutil.copytree(corpus, tmp_path / "corpus")
    posts = read_jsonl(corpus / "train.jsonl")
    assert all(post["image"] for post in posts)
    write_jsonl(
        without / "train.jsonl",
        [{**post, "image": None} if n % 2 else post for n, post in enumerate(posts)],
    )
    options = tiny_options(method, without, tmp_path / "run")
    together(2, "fit", *options, "--data.batch_size=1", "--trainer.limit_val_batches=1")
    assert metrics(tmp_path / "run")["fit"]


def quiet(corpus, folder):
    """The tiny encoder without dropout, whose random numbers would differ between processes."""
    copy = shutil.copytree(corpus / "encoder", folder / "encoder", dirs_exist_ok=True)
    config = json.loads((copy / "config.json").read_text())
    still = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    (copy / "config.json").write_text(json.dumps({**config, **still}))
    return copy


@pytest.mark.parametrize("count", [2, 4])
def test_a_fit_of_several_processes_builds_each_row_of_its_store_once(
    corpus, tmp_path, count, rounds
):
    for method in STORED[: rounds(1, len(STORED))]:
        store = tmp_path / method
        together(
            count,
            "fit",
            *tiny_options(method, corpus, tmp_path / f"{method}_run"),
            f"--feature_store={store}",
        )
        keys = [key for file in store.glob("*/*.safetensors") for key in keys_of(file)]
        assert len(keys) > 50
        assert len(keys) == len(set(keys))


def keys_of(file):
    """What the rows of a shard belong to."""
    with safe_open(file, framework="pt") as shard:
        return [(file.parent.name, key) for key in json.loads(shard.metadata()["keys"])]


def fill_late(rank, count, port, root):
    """Fill a store of 40 rows, each process a while after the one before, when that has written some."""
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=count)
    time.sleep(0.3 * rank)
    feature_store._SHARD_BYTES = 1  # a shard a batch
    store = FeatureCache(root, "rows", {})
    sources = {f"key{number}": number for number in range(40)}
    store.fill(sources, list, lambda some: torch.tensor(some).unsqueeze(1), batch_size=3)
    assert torch.equal(store.rows(list(sources)).squeeze(1), torch.arange(40).half())
    dist.destroy_process_group()


@pytest.mark.parametrize("count", [2, 4])
def test_a_process_that_is_late_leaves_no_row_out_and_none_is_built_twice(tmp_path, count):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("fork")
    processes = [
        context.Process(target=fill_late, args=(rank, count, port, tmp_path))
        for rank in range(count)
    ]
    for process in processes:
        process.start()
    assert [wait_for_exit(process) for process in processes] == [0] * count
    keys = [key for file in tmp_path.glob("*/*.safetensors") for key in keys_of(file)]
    assert len(keys) == len(set(keys)) == 40


@pytest.mark.parametrize("dying", [0, 1])
def test_a_process_that_dies_ends_the_others_which_say_so(corpus, tmp_path, dying, rounds, capfd):
    for number in range(rounds(1, 10)):
        run_dir = tmp_path / str(number)
        processes = fork_distributed(
            2, "fit", *tiny_options("rap", corpus, run_dir), "--trainer.max_epochs=30"
        )
        wait_for_file(run_dir / "last.ckpt", processes)
        time.sleep(random.Random(number).uniform(0, 2))
        processes[dying].kill()
        assert wait_for_exit(processes[1 - dying], 60) == 1
        assert (
            f"mmie: another process of the run has ended, see its message; --ckpt_path {run_dir}"
            in told(capfd)
        )
        wait_for_exit(processes[dying])


def told(capfd):
    """What processes have said on standard error."""
    return capfd.readouterr().err


def test_processes_that_all_get_sigterm_end_at_once(corpus, tmp_path, rounds, capfd):
    """As a cluster ends them."""
    for number in range(rounds(1, 20)):
        run_dir = tmp_path / str(number)
        processes = fork_distributed(
            2, "fit", *tiny_options("rap", corpus, run_dir), "--trainer.max_epochs=30"
        )
        wait_for_file(run_dir / "last.ckpt", processes)
        time.sleep(random.Random(number).uniform(0, 2))
        for process in processes:
            process.terminate()
        assert [wait_for_exit(process, 60) for process in processes] == [1, 0]
        assert f"mmie: ended by SIGTERM; --ckpt_path {run_dir / 'last.ckpt'} continues it" in told(
            capfd
        )


def test_processes_that_the_command_started_end_with_it(corpus, tmp_path, rounds):
    """As a user starts it, and ends it by SIGTERM: not for success, without a process that waits for ever."""
    if not rounds(0, 10):
        pytest.skip("each of its processes imports everything anew: see --soak")
    for number in range(rounds(0, 10)):
        run_dir = tmp_path / str(number)
        options = [*tiny_options("rap", corpus, run_dir), "--trainer.max_epochs=30"]
        process = start(["fit", *options, "--trainer.devices=2", "--trainer.strategy=ddp"])
        while not (run_dir / "last.ckpt").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        time.sleep(random.Random(number).uniform(0, 2))
        process.send_signal(signal.SIGTERM)
        outcome = finish(process)  # waits for the standard error that both hold
        assert outcome.status == 1
        assert (
            f"mmie: ended by SIGTERM; --ckpt_path {run_dir / 'last.ckpt'} continues it"
            in outcome.err
        )


def test_a_killed_fit_of_two_processes_goes_on_to_the_same_end(corpus, tmp_path, rounds):
    settings = ["--trainer.max_epochs=2", f"--feature_store={tmp_path / 'store'}"]
    together(2, "fit", *tiny_options("rap", corpus, tmp_path / "alone"), *settings)
    for number in range(rounds(1, 10)):
        options = [*tiny_options("rap", corpus, tmp_path / str(number)), *settings]
        processes = fork_distributed(2, "fit", *options)
        wait_for_file(tmp_path / str(number) / "last.ckpt", processes)
        time.sleep(random.Random(number).uniform(0, 2))
        for process in processes:
            process.kill()
            wait_for_exit(process)
        together(2, "fit", *options, "--ckpt_path=last")
        assert fit_result(tmp_path / str(number)) == fit_result(tmp_path / "alone")
