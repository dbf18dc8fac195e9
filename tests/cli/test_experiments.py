"""`mmie sweep` and `mmie benchmark`."""

import json
from dataclasses import replace

import pytest
import yaml
from helpers.benchmarks import RESULT
from helpers.command import check_refused, metrics, run, succeed
from helpers.fits import run_forked_job
from helpers.paths import CONFIGS

from mmie.experiments.benchmark_process import config_name
from mmie.experiments.processes import RunProcesses
from mmie.runs.sweep_plan import read_sweep_plan

pytestmark = pytest.mark.slow

TEXT_ONLY = CONFIGS / "demo_text_only.yaml"


def small_config(corpus):
    """A configuration of one training step on a corpus."""
    config = yaml.safe_load(TEXT_ONLY.read_text())
    config["model"]["init_args"]["text_encoder"] = str(corpus / "encoder")
    config["data"]["corpus"] = {
        "class_path": "mmie.data.JsonlCorpus",
        "init_args": {"root": str(corpus)},
    }
    config["trainer"] = {"max_epochs": 1, "accelerator": "cpu", "limit_train_batches": 1}
    return config


def test_scripts_are_written_and_nothing_is_run(tmp_path):
    out, script, sweep = tmp_path / "out", tmp_path / "array.sh", tmp_path / "sweep.yaml"
    line = [
        "sweep",
        f"{TEXT_ONLY.parent}/demo_text_onl?.yaml",
        "--seeds=3",
        "--set=data.task=ner,re",
        f"--out={out}",
        "--test-pictures",
    ]
    output = succeed(*line, f"--slurm={script}", f"--wandb-sweep={sweep}").out
    assert output.splitlines() == [f"sbatch {script}", f"wandb sweep {sweep}"]
    assert "--array=0-5" in script.read_text()
    repeated = yaml.safe_load(sweep.read_text())["command"]
    assert repeated[repeated.index("sweep") : -1] == ["sweep", str(TEXT_ONLY), *line[2:]]
    assert not list(out.iterdir())


def test_scripts_replace_no_file_unasked(tmp_path):
    config, script, sweep = (tmp_path / name for name in ("a.yaml", "array.sh", "sweep.yaml"))
    config.write_text(TEXT_ONLY.read_text())
    line = ["sweep", config, f"--out={tmp_path / 'out'}"]
    files = [f"--slurm={script}", f"--wandb-sweep={sweep}"]
    succeed(*line, *files)
    script.write_text("edited")
    sweep.unlink()
    check_refused(run(*line, *files), "array.sh is there already", "--overwrite")
    assert not sweep.exists()
    assert script.read_text() == "edited"
    succeed(*line, *files, "--overwrite")
    assert script.read_text().startswith("#!/bin/bash")
    both = [f"--slurm={sweep}", f"--wandb-sweep={tmp_path}/./sweep.yaml", "--overwrite"]
    check_refused(run(*line, *both), "both name", "sweep.yaml")
    check_refused(run(*line, f"--slurm={config}", "--overwrite"), "a.yaml is the source")
    check_refused(run(*line, "--overwrite"), "--slurm")
    assert config.read_text() == TEXT_ONLY.read_text()


def test_a_run_is_swept_and_continued_after_an_interruption(demo_root, tmp_path, monkeypatch):
    config, out = tmp_path / "small.yaml", tmp_path / "out"
    config.write_text(yaml.safe_dump(small_config(demo_root)))
    line = ["sweep", config, "--seeds=2", f"--out={out}", "--only=1", "--jobs=2"]
    run_dir = out / "small" / "seed_1235"
    output = succeed(*line).out
    assert f"{run_dir}: fit, test, test F1" in output
    assert output.splitlines()[-1] == str(out)
    assert yaml.safe_load((run_dir / "config.yaml").read_text())["seed_everything"] == 1235
    assert not (out / "small" / "seed_1234").exists()
    record, scores = json.loads((run_dir / "sweep.json").read_text()), metrics(run_dir)
    (run_dir / "sweep.json").write_text(json.dumps({**record, "fitted": False}))
    with monkeypatch.context() as patch:
        patch.setattr(RunProcesses, "run", run_forked_job)
        succeed(*line)
    assert f"--ckpt_path={run_dir / 'last.ckpt'}" in (run_dir / "sweep.log").read_text()
    assert metrics(run_dir) == scores
    (plan,) = read_sweep_plan(out)
    assert plan.command.startswith(f"mmie sweep {config} --seeds=2")
    assert plan.runs == (out / "small" / "seed_1234", run_dir)
    outcome = run(*line, "--only=2")
    assert outcome.status == 2
    assert "from 0 to 1" in outcome.err


def test_two_configurations_are_measured_in_processes_of_their_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two", "cpu"):
        (tmp_path / f"{name}.yaml").touch()
    calls = []

    def run_in_process(arguments):
        calls.append(arguments)
        seconds = RESULT.epoch_seconds / len(calls)
        return replace(RESULT, name=config_name(arguments), epoch_seconds=seconds)

    monkeypatch.setattr("mmie.cli.experiments.run_in_process", run_in_process)
    options = ["--config=cpu.yaml", "--data.batch_size=3"]
    table = succeed("benchmark", "--config", "one.yaml", *options, "--against=two.yaml").out
    counts = ["--steps=20", "--warmup=3"]
    assert calls == [
        [*counts, "--config", "one.yaml", *options],
        [*counts, "--config=two.yaml", *options],
    ]
    assert "2.00x" in table
    assert "one" in table
    assert "two" in table


def test_a_benchmark_of_no_steps_is_refused():
    assert run("benchmark", "--steps=0", "--config=configs/demo_text_only.yaml").status == 2
