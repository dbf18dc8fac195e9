"""Several processes give the numbers of one, and the loss of one, or a signal, ends all of them."""

import json
import multiprocessing
import random
import shutil
import signal
import time

import pytest
import torch
import torch.distributed as dist
from helpers.command import (
    check_same_predictions,
    finish,
    metrics,
    read_jsonl,
    scored_section,
    start,
    succeed,
    tiny_options,
    write_jsonl,
)
from helpers.fits import (
    check_success,
    find_free_port,
    fit_result,
    fork_distributed,
    wait_for_exit,
    wait_for_file,
)
from helpers.fitted_runs import fit_options
from safetensors import safe_open

from mmie.training.features import cache as cache_module
from mmie.training.features.cache import FeatureCache

pytestmark = pytest.mark.slow

CACHING_METHODS = ("rap", "hvpnet", "mlnet")
"""Methods with a frozen backbone, whose features are cached."""
METHODS = ("imm", "mlnet", "hvpnet", "text_only", "rap", "dghc", "rsrnet")
DETERMINISTIC = {
    "dghc": ["--model.vision_backbone=test_vit"],
    "imm": ["--model.beta=0"],
    "mlnet": ["--model.lstm_dropout=0"],
}
"""Options that switch off random numbers and batch norms in trained backbones.

Each process draws its own random numbers, and its batch norms see its own share of a batch alone,
unless they are synchronised, which takes GPUs.
"""


def run_distributed(count, *arguments):
    """Run ``mmie ARGUMENTS`` in several processes of one run and check that none fails."""
    check_success(*fork_distributed(count, *arguments))


@pytest.fixture(scope="module")
def odd_corpus(demo_root, tmp_path_factory):
    """Demo corpus with 13 test posts, which batches of 2 divide on neither 2 nor 4 processes."""
    folder = tmp_path_factory.mktemp("corpus") / "odd"
    for split, count in (("train", 48), ("valid", 13), ("test", 13)):
        write_jsonl(folder / f"{split}.jsonl", read_jsonl(demo_root / f"{split}.jsonl")[:count])
    for name in ("images", "crops", "encoder"):
        shutil.copytree(demo_root / name, folder / name)
    return folder


@pytest.mark.parametrize("task", ["ner", "re"])
def test_any_number_of_processes_has_the_results_of_one(odd_corpus, tmp_path, task):
    options = [*fit_options(odd_corpus, tmp_path / "1", task), "--data.batch_size=2"]
    succeed("fit", *options, "--trainer.max_epochs=3")
    succeed("test", *options)
    expected = scored_section(tmp_path / "1")
    loss = expected.pop("test/loss")
    del expected["predictions_sha256"]  # probabilities differ by rounding
    assert 0 < expected["test/f1"] < 1, "0 or 1 would hide a sample that counts twice"
    checkpoint = f"--ckpt_path={tmp_path / '1' / 'best.ckpt'}"
    for count in (2, 4):
        run_dir = tmp_path / str(count)
        run_distributed(count, "test", *options, f"--run_dir={run_dir}", checkpoint)
        section = scored_section(run_dir)
        assert section.pop("test/loss") == pytest.approx(loss, rel=1e-5)
        del section["predictions_sha256"]
        assert section == expected
        check_same_predictions(tmp_path / "1", run_dir)


def first_gradients(run_dir):
    """Return what the optimiser has seen in its first step, as first moments, for each parameter.

    A first moment is (1 - beta) times the gradient. Of embeddings the rows that are not 0 are
    returned: whether a used row with a gradient of 0 has a moment, and at which index, depends on
    the optimiser's layout.
    """
    (state,) = torch.load(run_dir / "last.ckpt", weights_only=True)["optimizer_states"]
    gradients = []
    for part in state["state"].values():
        moments = part["exp_avg"]
        if "rows" in part:
            moments = moments[part["rows"].argsort()]
            moments = moments[moments.any(1)]  # (rows with a gradient, width)
        gradients.append(moments)
    return gradients


def encoder_without_dropout(corpus, folder):
    """Write a copy of a corpus's text encoder that has no dropout."""
    copy = shutil.copytree(corpus / "encoder", folder / "encoder", dirs_exist_ok=True)
    config = json.loads((copy / "config.json").read_text())
    config.update(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    (copy / "config.json").write_text(json.dumps(config))
    return copy


def test_gradients_are_those_of_one_process_with_the_joint_batch(odd_corpus, tmp_path, rounds):
    encoder = encoder_without_dropout(odd_corpus, tmp_path)
    for method in METHODS[: rounds(2, len(METHODS))]:
        folder = tmp_path / method
        options = [
            *tiny_options(method, odd_corpus, folder, encoder),
            "--trainer.limit_train_batches=1",
            "--trainer.limit_val_batches=1",
            "--model.dropout=0",
            *DETERMINISTIC.get(method, []),
        ]
        succeed("fit", *options, "--data.batch_size=8", f"--run_dir={folder / '1'}")
        expected = first_gradients(folder / "1")
        for count in (2, 4):
            run_dir = folder / str(count)
            share = f"--data.batch_size={8 // count}"
            run_distributed(count, "fit", *options, share, f"--run_dir={run_dir}")
            gradients = first_gradients(run_dir)
            assert len(gradients) == len(expected) > 10
            message = f"{method}, {count} processes"
            for gradient, other in zip(gradients, expected, strict=True):
                torch.testing.assert_close(gradient, other, rtol=1e-3, atol=1e-6, msg=message)


@pytest.mark.parametrize("method", ["imm", "mlnet"])
def test_a_process_may_have_posts_without_pictures_alone(odd_corpus, tmp_path, method):
    # the process takes part in the comparison of texts with the pictures of all processes
    corpus = shutil.copytree(odd_corpus, tmp_path / "corpus")
    posts = read_jsonl(odd_corpus / "train.jsonl")
    assert all(post["image"] for post in posts)
    for post in posts[1::2]:
        post["image"] = None
    write_jsonl(corpus / "train.jsonl", posts)
    options = tiny_options(method, corpus, tmp_path / "run")
    run_distributed(2, "fit", *options, "--data.batch_size=1", "--trainer.limit_val_batches=1")
    assert metrics(tmp_path / "run")["fit"]


def cached_keys(cache):
    """Return the cache's folder and the key of every row, in all caches below a folder."""
    keys = []
    for file in cache.glob("*/*.safetensors"):
        with safe_open(file, framework="pt") as shard:
            keys += [(file.parent.name, key) for key in json.loads(shard.metadata()["keys"])]
    return keys


@pytest.mark.parametrize("count", [2, 4])
def test_a_distributed_fit_computes_each_cached_row_once(odd_corpus, tmp_path, count, rounds):
    for method in CACHING_METHODS[: rounds(1, len(CACHING_METHODS))]:
        cache = tmp_path / method
        options = tiny_options(method, odd_corpus, tmp_path / f"{method}_run")
        run_distributed(count, "fit", *options, f"--feature_store={cache}")
        keys = cached_keys(cache)
        assert len(keys) > 50
        assert len(keys) == len(set(keys))


def fill_late(rank, count, port, root):
    """Fill a cache of 40 rows, each process after the one before has written some."""
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=count)
    time.sleep(0.3 * rank)
    cache_module._SHARD_BYTES = 1  # a shard for each batch
    cache = FeatureCache(root, "rows", {})
    sources = {f"key{number}": number for number in range(40)}

    def compute(numbers):
        return torch.tensor(numbers).unsqueeze(1)

    cache.fill(sources, list, compute, batch_size=3)
    assert torch.equal(cache.rows(list(sources)).squeeze(1), torch.arange(40).half())
    dist.destroy_process_group()


@pytest.mark.parametrize("count", [2, 4])
def test_late_processes_compute_their_share_of_a_cache_and_no_more(tmp_path, count):
    context = multiprocessing.get_context("fork")
    port = find_free_port()
    processes = []
    for rank in range(count):
        process = context.Process(target=fill_late, args=(rank, count, port, tmp_path))
        process.start()
        processes.append(process)
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    keys = cached_keys(tmp_path)
    assert len(keys) == len(set(keys)) == 40


def start_long_fit(corpus, run_dir, number):
    """Start a fit of two processes, and wait for a random moment after its first checkpoint.

    Args:
        corpus: Folder of the corpus.
        run_dir: Run folder.
        number: Seed of the moment.

    Returns:
        The processes.
    """
    options = [*tiny_options("rap", corpus, run_dir), "--trainer.max_epochs=30"]
    processes = fork_distributed(2, "fit", *options)
    wait_for_file(run_dir / "last.ckpt", processes)
    time.sleep(random.Random(number).uniform(0, 2))
    return processes


@pytest.mark.parametrize("killed", [0, 1])
def test_the_loss_of_a_process_ends_the_other(odd_corpus, tmp_path, killed, rounds):
    for number in range(rounds(1, 10)):
        run_dir = tmp_path / str(number)
        processes = start_long_fit(odd_corpus, run_dir, number)
        processes[killed].kill()
        assert wait_for_exit(processes[1 - killed], 60) == 1
        reason = "another process of the run has ended, see its message"
        assert f"mmie: {reason}; --ckpt_path {run_dir}" in processes[1 - killed].err
        wait_for_exit(processes[killed])


def test_sigterm_to_all_processes_ends_them_at_once(odd_corpus, tmp_path, rounds):
    # a cluster ends its jobs in this way
    for number in range(rounds(1, 20)):
        run_dir = tmp_path / str(number)
        processes = start_long_fit(odd_corpus, run_dir, number)
        for process in processes:
            process.terminate()
        assert [wait_for_exit(process, 60) for process in processes] == [1, 0]
        message = f"mmie: ended by SIGTERM; --ckpt_path {run_dir / 'last.ckpt'} continues it"
        assert message in processes[0].err


def test_sigterm_to_the_command_ends_the_processes_that_it_started(odd_corpus, tmp_path, rounds):
    # the command fails, and no process of it waits forever
    if not rounds(0, 10):
        pytest.skip("each of its processes imports everything anew: see --soak")
    for number in range(rounds(0, 10)):
        run_dir = tmp_path / str(number)
        options = [*tiny_options("rap", odd_corpus, run_dir), "--trainer.max_epochs=30"]
        process = start(["fit", *options, "--trainer.devices=2", "--trainer.strategy=ddp"])
        while not (run_dir / "last.ckpt").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        time.sleep(random.Random(number).uniform(0, 2))
        process.send_signal(signal.SIGTERM)
        outcome = finish(process)  # reads to the end of standard error, which both processes hold
        assert outcome.status == 1
        message = f"mmie: ended by SIGTERM; --ckpt_path {run_dir / 'last.ckpt'} continues it"
        assert message in outcome.err


def test_a_killed_fit_of_two_processes_continues_to_the_same_result(odd_corpus, tmp_path, rounds):
    settings = ["--trainer.max_epochs=2", f"--feature_store={tmp_path / 'cache'}"]
    undisturbed = tmp_path / "undisturbed"
    run_distributed(2, "fit", *tiny_options("rap", odd_corpus, undisturbed), *settings)
    for number in range(rounds(1, 10)):
        run_dir = tmp_path / str(number)
        options = [*tiny_options("rap", odd_corpus, run_dir), *settings]
        processes = fork_distributed(2, "fit", *options)
        wait_for_file(run_dir / "last.ckpt", processes)
        time.sleep(random.Random(number).uniform(0, 2))
        for process in processes:
            process.kill()
            wait_for_exit(process)
        run_distributed(2, "fit", *options, "--ckpt_path=last")
        assert fit_result(run_dir) == fit_result(undisturbed)
