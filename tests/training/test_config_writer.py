"""``config.yaml`` of a run, through the command."""

import pytest
import torch
import yaml
from helpers.command import metrics, scored_section, succeed, without_times
from helpers.fitted_runs import fit_options


@pytest.mark.slow
def test_the_configuration_is_complete_and_as_given(fitted_runs):
    config = yaml.safe_load((fitted_runs / "re" / "config.yaml").read_text())
    assert config["data"]["task"] == "re"
    assert config["model"]["init_args"]["text_lr"] == 0.003
    assert config["model"]["init_args"]["dropout"] == 0.1  # a default
    assert config["seed_everything"] == 1234


def test_the_configuration_is_enough_for_a_test(fitted_run, demo_root):
    succeed("test", *fit_options(demo_root, fitted_run))
    section = scored_section(fitted_run)
    lines = (fitted_run / "predictions.jsonl").read_bytes()
    (fitted_run / "predictions.jsonl").unlink()
    config = f"--config={fitted_run / 'config.yaml'}"
    succeed("test", config, f"--run_dir={fitted_run}")
    assert scored_section(fitted_run) == section
    assert (fitted_run / "predictions.jsonl").read_bytes() == lines


@pytest.mark.slow
def test_a_fit_with_the_saved_configuration_gives_the_same(fitted_runs, tmp_path):
    first, second = fitted_runs / "ner", tmp_path / "again"
    succeed("fit", f"--config={first / 'config.yaml'}", f"--run_dir={second}")
    epochs = [metrics(folder)["fit"]["epochs"] for folder in (first, second)]
    assert without_times(epochs[0]) == without_times(epochs[1])
    weights = torch.load(first / "last.ckpt", weights_only=True)["state_dict"]
    other_weights = torch.load(second / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.equal(value, other_weights[name]) for name, value in weights.items())
