"""The same seed gives the same fit, with any workers, any feature cache and any earlier draws."""

import random
import shutil

import pytest
import torch
from helpers.command import metrics, succeed, tiny_options
from helpers.fits import fit_result
from helpers.paths import CONFIGS

pytestmark = pytest.mark.slow

METHODS = ("rap", "dghc", "hvpnet", "mlnet_pretrain", "imm", "rsrnet", "text_only", "mlnet")
"""All methods, those first that draw most random numbers."""
SETTINGS = ["--trainer.max_epochs=2", "--data.train_fraction=0.5", "--trainer.log_every_n_steps=2"]


def fit(method, corpus, folder, *extra):
    """Fit a demo configuration, after some random draws, and return its result."""
    torch.rand(random.randrange(1, 100))
    random.seed()
    cache = f"--feature_store={folder / 'cache'}"
    options = [*tiny_options(method, corpus, folder / "run"), *SETTINGS, cache]
    succeed("fit", *options, "--overwrite=true", *extra)
    return fit_result(folder / "run")


@pytest.fixture
def methods(rounds):
    """Methods to fit."""
    names = {file.stem.removeprefix("demo_") for file in CONFIGS.glob("demo_*.yaml")}
    assert set(METHODS) == names
    return METHODS[: rounds(1, len(METHODS))]


def test_workers_and_the_state_of_the_cache_do_not_change_a_fit(methods, demo_root, tmp_path):
    for method in methods:
        folder = tmp_path / method
        first = fit(method, demo_root, folder)
        assert fit(method, demo_root, folder) == first, f"{method}, with a filled cache"
        shutil.rmtree(folder / "cache", ignore_errors=True)
        again = fit(method, demo_root, folder, "--data.num_workers=2")
        assert again == first, f"{method}, with workers and an empty cache"
        other = fit(method, demo_root, folder, "--seed_everything=7")
        assert other["last.ckpt state_dict"] != first["last.ckpt state_dict"], method


def test_rows_of_other_fits_in_the_cache_do_not_change_a_fit(methods, demo_root, tmp_path):
    for method in methods:
        folder = tmp_path / method
        first = fit(method, demo_root, folder)
        shutil.rmtree(folder / "cache", ignore_errors=True)
        for fraction, seed in ((0.1, 3), (0.3, 4)):
            settings = [f"--data.train_fraction={fraction}", f"--seed_everything={seed}"]
            fit(method, demo_root, folder, *settings, "--trainer.max_epochs=1")
        assert fit(method, demo_root, folder) == first, method


def test_a_fit_without_a_cache_is_the_same_within_the_precision_of_cached_features(
    demo_root, tmp_path
):
    one_step = ["--trainer.max_epochs=1", "--trainer.limit_train_batches=1"]
    fit("rap", demo_root, tmp_path, *one_step)
    cached = metrics(tmp_path / "run")["fit"]["best"]
    fit("rap", demo_root, tmp_path, *one_step, "--feature_store=null")
    computed = metrics(tmp_path / "run")["fit"]["best"]
    for name in ("train/loss", "val/loss"):
        assert cached[name] == pytest.approx(computed[name], rel=1e-3)


def test_every_epoch_has_its_own_dropout(demo_root, tmp_path):
    """Two epochs of one batch at a learning rate of 0 differ in dropout alone."""
    constant = [
        "--model.text_lr=0",
        "--model.fusion_lr=0",
        "--model.head_lr=0",
        "--data.batch_size=64",
        "--model.gate_norm=none",  # whose running statistics would move
    ]
    fit("rap", demo_root, tmp_path, *constant)
    first, second = metrics(tmp_path / "run")["fit"]["epochs"]
    assert first["val/loss"] == second["val/loss"]
    assert first["train/loss"] != second["train/loss"]
