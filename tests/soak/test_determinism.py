"""The same seed gives the same result, and nothing that should not matter does: workers, the store, what ran before."""

import random
import shutil

import pytest
import torch
from helpers.command import metrics, succeed, tiny_options
from helpers.fits import fit_result
from helpers.paths import CONFIGS

METHODS = ("rap", "dghc", "hvpnet", "mlnet_pretrain", "imm", "rsrnet", "text_only", "mlnet")
SETTINGS = ["--trainer.max_epochs=2", "--data.train_fraction=0.5", "--trainer.log_every_n_steps=2"]


def fit(method, corpus, folder, *extra):
    """What a fit of a demo configuration comes to."""
    torch.rand(random.randrange(1, 100)), random.seed()  # what was drawn before must not matter
    options = [
        *tiny_options(method, corpus, folder / "run"),
        *SETTINGS,
        f"--feature_store={folder / 'store'}",
    ]
    succeed("fit", *options, "--overwrite=true", *extra)
    return fit_result(folder / "run")


@pytest.fixture
def methods(rounds):
    """Methods to try: those that draw most random numbers first."""
    assert {f"demo_{method}" for method in METHODS} == {
        file.stem for file in CONFIGS.glob("demo_*.yaml")
    }
    return METHODS[: rounds(1, len(METHODS))]


def test_the_same_seed_gives_the_same_result_with_any_number_of_workers_and_any_store(
    methods, demo_root, tmp_path
):
    for method in methods:
        folder = tmp_path / method
        first = fit(method, demo_root, folder)
        assert fit(method, demo_root, folder) == first, f"{method}, its store filled"
        shutil.rmtree(folder / "store", ignore_errors=True)
        assert fit(method, demo_root, folder, "--data.num_workers=2") == first, (
            f"{method}, workers and a new store"
        )
        other = fit(method, demo_root, folder, "--seed_everything=7")
        assert other["last.ckpt state_dict"] != first["last.ckpt state_dict"], method


def test_a_store_that_others_began_gives_the_same_result(methods, demo_root, tmp_path):
    for method in methods:
        folder = tmp_path / method
        first = fit(method, demo_root, folder)
        shutil.rmtree(folder / "store", ignore_errors=True)
        for share, seed in ((0.1, 3), (0.3, 4)):
            part = [
                f"--data.train_fraction={share}",
                f"--seed_everything={seed}",
                "--trainer.max_epochs=1",
            ]
            fit(method, demo_root, folder, *part)
        assert fit(method, demo_root, folder) == first, method


def test_without_a_store_the_result_is_the_same_within_the_precision_of_kept_features(
    demo_root, tmp_path
):
    one_step = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]
    fit("rap", demo_root, tmp_path, *one_step)
    kept = metrics(tmp_path / "run")["fit"]["best"]
    fit("rap", demo_root, tmp_path, *one_step, "--feature_store=null")
    computed = metrics(tmp_path / "run")["fit"]["best"]
    assert kept["train/loss"] == pytest.approx(computed["train/loss"], rel=1e-3)
    assert kept["val/loss"] == pytest.approx(computed["val/loss"], rel=1e-3)


def test_every_epoch_draws_other_numbers(demo_root, tmp_path):
    """The model sees the same posts in two epochs of one batch, at a learning rate of 0: only dropout differs."""
    still = [
        "--model.text_lr=0",
        "--model.fusion_lr=0",
        "--model.head_lr=0",
        "--data.batch_size=64",
    ]
    fit("rap", demo_root, tmp_path, *still)
    first, second = metrics(tmp_path / "run")["fit"]["epochs"]
    assert first["val/loss"] == second["val/loss"]
    assert first["train/loss"] != second["train/loss"]
