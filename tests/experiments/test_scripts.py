"""Scripts run the jobs of a sweep by their numbers."""

import subprocess
from pathlib import Path

import pytest
import yaml
from helpers.paths import CONFIGS
from jsonargparse import Namespace

from mmie.experiments.scripts import slurm_script, sweep_options, wandb_sweep, write_scripts
from mmie.experiments.sweep import plan_sweep

pytestmark = pytest.mark.slow


def test_the_slurm_script_is_valid_and_runs_the_job_of_its_task(tmp_path):
    script = tmp_path / "a script.sh"
    script.write_text(slurm_script(["echo", "an argument", "$x"], 3, 2, tmp_path / "out dir"))
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert "#SBATCH --array=0-2%2\n" in script.read_text()
    assert "%" not in slurm_script(["echo"], 3, 1, Path("out")).splitlines()[2]
    ran = subprocess.run(
        ["bash", script], env={"SLURM_ARRAY_TASK_ID": "2"}, capture_output=True, text=True
    )
    assert ran.stdout == "an argument $x --only=2\n"


def test_the_wandb_file_lists_every_job():
    sweep = yaml.safe_load(wandb_sweep(["python", "-m", "mmie.cli", "sweep", "a b.yaml"], 4))
    assert sweep["parameters"] == {"only": {"values": [0, 1, 2, 3]}}
    assert sweep["command"] == [
        "${env}",
        "python",
        "-m",
        "mmie.cli",
        "sweep",
        "a b.yaml",
        "${args}",
    ]
    assert (sweep["method"], sweep["metric"]["name"]) == ("grid", "val/f1")


def test_the_options_plan_the_same_sweep(tmp_path):
    pattern = f"{CONFIGS}/demo_text_onl?.yaml+{CONFIGS}/hardware/cpu.yaml"
    settings = Namespace(
        seeds="2", set=["data.task=ner,re", "a=1"], out=tmp_path, test_pictures=True
    )
    jobs = plan_sweep([pattern], settings.set, settings.seeds, tmp_path)
    config = f"{CONFIGS}/demo_text_only.yaml+{CONFIGS}/hardware/cpu.yaml"
    assert sweep_options(settings, jobs) == [
        config,
        "--seeds=2",
        "--set=data.task=ner,re",
        "--set=a=1",
        f"--out={tmp_path}",
        "--test-pictures",
    ]
    assert plan_sweep([config], settings.set, settings.seeds, tmp_path) == jobs
    settings.test_pictures = False
    assert "--test-pictures" not in sweep_options(settings, jobs)


def test_scripts_are_written_and_started_by_one_line_each(tmp_path):
    out, slurm, wandb = tmp_path / "out", tmp_path / "array.sh", tmp_path / "sweep.yaml"
    assert write_scripts(["echo"], 3, 2, out, slurm, None) == f"sbatch {slurm}"
    assert write_scripts(["echo"], 3, 2, out, None, wandb) == f"wandb sweep {wandb}"
    assert out.is_dir()
    assert slurm.read_text() == slurm_script(["echo"], 3, 2, out)
    assert wandb.read_text() == wandb_sweep(["echo"], 3)
