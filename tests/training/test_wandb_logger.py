"""W&B runs of run folders, online or on disk, and failures of W&B."""

import io
import shutil
import warnings

import pytest
import wandb
import yaml
from helpers.command import metrics, succeed, tiny_options
from helpers.wandb_runs import read_wandb_runs, run_config, run_header, run_history, run_table

from mmie.reports.dashboard import comparison_verdicts
from mmie.runs.folder import WANDB_ID
from mmie.training.wandb_logger import (
    WandbSettings,
    build_wandb_logger,
    read_run_id,
    start_run,
    wandb_init,
    wandb_warns,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("_own_wandb_folders")]


def test_a_run_folder_is_one_wandb_run(wandb_run_dir):
    runs = read_wandb_runs(wandb_run_dir)
    assert len(runs) == 3
    headers = [run_header(records) for records in runs]
    assert {header.run_id for header in headers} == {read_run_id(wandb_run_dir)}
    for header in headers:
        assert header.project == "mmie"
        assert header.display_name == "mine"
        assert header.run_group == "JsonlCorpus-ner"
        assert header.job_type == "HVPNet"
        assert set(header.tags) == {"HVPNet", "night"}


def test_the_configuration_is_that_of_the_fit(wandb_run_dir):
    saved = yaml.safe_load((wandb_run_dir / "config.yaml").read_text())
    for records in read_wandb_runs(wandb_run_dir):
        config = run_config(records)
        assert config["model"]["class_path"] == "mmie.methods.HVPNet"
        assert (config["data"], config["seed_everything"]) == (saved["data"], 1234)


def test_only_a_fit_has_steps(wandb_run_dir):
    fit, *tests = read_wandb_runs(wandb_run_dir)
    (validated,) = [row["val/f1"] for row in run_history(fit) if "val/f1" in row]
    assert validated == pytest.approx(metrics(wandb_run_dir)["fit"]["best"]["val/f1"])
    for records in tests:
        names = {name for row in run_history(records) for name in row}
        assert not [name for name in names if name.startswith(("val/", "train", "epoch"))]


def test_a_fit_continues_the_wandb_run_and_a_fresh_one_does_not(wandb_run_dir, demo_root, tmp_path):
    run_dir = shutil.copytree(wandb_run_dir, tmp_path / "run")
    options = [*tiny_options("hvpnet", demo_root, run_dir), "--trainer.limit_train_batches=1"]
    continued = [f"--ckpt_path={run_dir / 'last.ckpt'}", "--trainer.max_epochs=2"]
    succeed("fit", *options, *continued)
    assert read_run_id(run_dir) == read_run_id(wandb_run_dir)
    succeed("fit", *options, "--overwrite=true")
    assert read_run_id(run_dir) is None


def test_a_fit_goes_on_if_wandb_does_not_start(demo_root, tmp_path):
    run_dir = tmp_path / "run"
    options = [*tiny_options("text_only", demo_root, run_dir), "--trainer.limit_train_batches=1"]
    message = r"W&B does not start, nothing is logged there: .*a/b"
    with pytest.warns(UserWarning, match=message) as caught:
        succeed("fit", *options, "--wandb.project=a/b")
    assert len([warning for warning in caught if "W&B" in str(warning.message)]) == 1
    assert metrics(run_dir)["fit"]
    assert not (run_dir / WANDB_ID).exists()


def test_a_fast_dev_run_starts_no_wandb_run(demo_root, tmp_path):
    options = tiny_options("text_only", demo_root, tmp_path / "run")
    succeed("fit", *options, "--wandb", "--trainer.fast_dev_run=true")
    assert not (tmp_path / "run" / "wandb").exists()


def test_wandb_is_online_only_for_users_who_are_logged_in(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)

    def mode(**settings):
        logger = build_wandb_logger(WandbSettings(**settings), tmp_path / "run")
        return logger._wandb_init["mode"]

    assert mode() == "offline"
    assert mode(offline=False) != "offline"
    (tmp_path / ".netrc").write_text("machine api.wandb.ai login user password secret\n")
    (tmp_path / ".netrc").chmod(0o600)
    assert mode() != "offline"
    assert mode(offline=True) == "offline"
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert mode() == "offline"
    monkeypatch.setenv("WANDB_API_KEY", "k" * 40)
    assert mode() != "offline"
    assert mode(offline=True) == "offline"
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert mode() == "disabled"


def test_an_online_run_without_a_key_stays_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    init = {**wandb_init(WandbSettings(), tmp_path / "run"), "mode": "online"}
    with pytest.warns(UserWarning, match="stays in .* for `wandb sync`"):
        wandb_run = start_run(init)
    wandb_run.finish()
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))


def test_an_error_of_wandb_becomes_a_warning_of_one_line():
    with pytest.warns(UserWarning, match="OSError: no space is left") as caught, wandb_warns():
        raise OSError("no space\nis left")
    assert len(caught) == 1


def test_a_run_folder_without_an_id_belongs_to_no_wandb_run(tmp_path):
    assert read_run_id(tmp_path) is None
    (tmp_path / WANDB_ID).write_text("\n")
    assert read_run_id(tmp_path) is None
    (tmp_path / WANDB_ID).write_text("abc\n")
    assert read_run_id(tmp_path) == "abc"


def test_a_comparison_is_an_artifact_with_tables(wandb_run_dir, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(wandb_run_dir, other, ignore=shutil.ignore_patterns("wandb", "*.ckpt"))
    config = yaml.safe_load((wandb_run_dir / "config.yaml").read_text())
    config["trainer"]["max_epochs"] = 9
    (other / "config.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "out"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "W&B")
        options = [f"--out={out}", "--resamples=20", "--wandb.project=mine"]
        succeed("compare", wandb_run_dir, other, *options)
    assert wandb.run is None
    (records,) = read_wandb_runs(out)
    header = run_header(records)
    assert header.project == "mine"
    assert header.job_type == "comparison"
    assert header.display_name == "out"
    artifacts = [record.artifact for record in records]
    (artifact,) = [artifact for artifact in artifacts if artifact.type == "comparison"]
    assert {entry.path for entry in artifact.manifest.contents} == {
        "comparison.html",
        "comparison.md",
        "comparison.json",
        "scores.table.json",
        "pairs.table.json",
    }
    (verdict,) = comparison_verdicts(out).values()
    assert " are level with " in verdict
    assert artifact.description.endswith(verdict)
    summaries = [item for record in records for item in record.summary.update]
    keys = {item.key or "/".join(item.nested_key) for item in summaries}
    assert any(key.startswith("verdict/") for key in keys)
    scores = run_table(out, records, "scores")
    assert len({row["system"] for row in scores}) == 2
    f1 = metrics(wandb_run_dir)["test"]["test/f1"]
    assert [row["f1"] for row in scores] == pytest.approx([f1] * 2)
    (pair,) = run_table(out, records, "pairs")
    assert (pair["difference"], pair["p_holm"]) == (0, 1)


def test_a_comparison_without_wandb_starts_no_run(wandb_run_dir, tmp_path):
    succeed("compare", wandb_run_dir, f"--out={tmp_path / 'out'}", "--resamples=20")
    assert not (tmp_path / "out" / "wandb").exists()
