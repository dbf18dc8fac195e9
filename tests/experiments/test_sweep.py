"""Many runs: which they are, where they go, and what becomes of interrupted and failed ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.command import metrics, run, succeed
from helpers.paths import CONFIGS

from mmie.experiments.sweep import (
    SweepError,
    parse_seeds,
    plan,
    slurm_script,
    split_values,
    wandb_sweep,
)
from mmie.experiments.sweep_runner import run_sweep

TEXT_ONLY = CONFIGS / "demo_text_only.yaml"
RAP = CONFIGS / "demo_rap.yaml"


def folders(jobs, out):
    return [str(job.folder.relative_to(out)) for job in jobs]


def test_a_plan_is_the_product_of_configurations_settings_and_seeds(tmp_path):
    jobs = plan(
        [str(TEXT_ONLY), str(RAP)], ["data.task=ner,re", "trainer.max_epochs=1"], "2", tmp_path
    )
    assert folders(jobs, tmp_path) == [
        f"{stem}/data.task={task}/seed_{seed}"
        for stem in ("demo_text_only", "demo_rap")
        for task in ("ner", "re")
        for seed in (1234, 1235)
    ]
    assert jobs[1].fit_options == [
        f"--config={TEXT_ONLY}",
        "--data.task=ner",
        "--trainer.max_epochs=1",
        "--seed_everything=1235",
        f"--run_dir={tmp_path / 'demo_text_only/data.task=ner/seed_1235'}",
    ]


def test_configurations_are_laid_over_each_other(tmp_path):
    (job,) = plan([f"{RAP}+{CONFIGS / 'hardware' / 'cpu.yaml'}"], [], "7,", tmp_path)
    assert job.configs == (RAP, CONFIGS / "hardware" / "cpu.yaml")
    assert job.folder == tmp_path / "demo_rap+cpu" / "seed_7"


def test_globs_stand_for_configurations(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.yaml").touch()
    jobs = plan([f"{tmp_path}/*.yaml+{RAP}"], [], "1", tmp_path)
    assert folders(jobs, tmp_path) == ["a+demo_rap/seed_1234", "b+demo_rap/seed_1234"]
    with pytest.raises(SweepError, match=r"none_.*yaml: expected a configuration file"):
        plan([f"{tmp_path}/none_*.yaml"], [], "1", tmp_path)


def test_names_of_folders_hold_nothing_that_a_shell_or_a_path_minds(tmp_path):
    jobs = plan(
        [str(RAP)], ["model.units=[rau, cfu],[fsru]", "model.text_encoder=a/b,../c"], "1", tmp_path
    )
    assert len({job.folder for job in jobs}) == 4
    for job in jobs:
        assert job.folder.parts[: len(tmp_path.parts)] == tmp_path.parts
        assert ".." not in job.folder.parts
        assert not set(str(job.folder.relative_to(tmp_path))) & set(" []'\"$;&*?")
    assert jobs[0].settings[0] == ("model.units", "[rau, cfu]")


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a", ["a"]),
        ("a,b", ["a", "b"]),
        ("[1,2],3", ["[1,2]", "3"]),
        ("{a: 1, b: 2}", ["{a: 1, b: 2}"]),
        ("", []),
    ],
)
def test_values_are_split_at_commas_outside_brackets(text, values):
    assert split_values(text) == values


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1,1", "2,x"])
def test_wrong_seeds_are_refused(text):
    with pytest.raises(SweepError, match="expected a count"):
        parse_seeds(text)


@pytest.mark.parametrize(
    ("configs", "settings", "message"),
    [
        (["nowhere.yaml"], [], "nowhere.yaml"),
        ([str(RAP), str(RAP)], [], "share"),
        ([str(RAP)], ["data.task=ner,ner"], "share"),
        ([str(RAP)], ["data.task"], "key=value"),
        ([str(RAP)], ["data.task="], "key=value"),
        ([str(RAP)], ["seed_everything=1,2"], "--seeds"),
    ],
)
def test_wrong_plans_are_refused(tmp_path, configs, settings, message):
    with pytest.raises(SweepError, match=message):
        plan(configs, settings, "2", tmp_path)


def test_the_slurm_script_parses_and_runs_the_run_of_its_task(tmp_path):
    script = tmp_path / "a script.sh"
    script.write_text(slurm_script(["echo", "an argument", "$x"], 3, 2, tmp_path / "out dir"))
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    assert "#SBATCH --array=0-2%2\n" in script.read_text()
    assert "%" not in slurm_script(["echo"], 3, 1, Path("out")).splitlines()[2]
    ran = subprocess.run(
        ["bash", script], env={"SLURM_ARRAY_TASK_ID": "2"}, capture_output=True, text=True
    )
    assert ran.stdout == "an argument $x --only=2\n"


def test_the_wandb_file_lists_every_run():
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
    told = succeed(*line, f"--slurm={script}", f"--wandb-sweep={sweep}").out
    assert told.splitlines() == [f"sbatch {script}", f"wandb sweep {sweep}"]
    assert "--array=0-5" in script.read_text()
    repeated = yaml.safe_load(sweep.read_text())["command"]
    assert repeated[repeated.index("sweep") : -1] == ["sweep", str(TEXT_ONLY), *line[2:]]
    assert not list(out.iterdir())


STAND_IN = """
import json, os, pathlib, sys
options = dict(option.lstrip("-").split("=", 1) for option in sys.argv[2:])
folder = pathlib.Path(options["run_dir"])
pictures = options.get("data.pictures", "right")
print("threads", os.environ["OMP_NUM_THREADS"])
if options.get("model.text_lr") == "bad" or (folder / f"no_{sys.argv[1]}").exists():
    sys.exit("this one fails")
file = folder / "metrics.json"
known = json.loads(file.read_text()) if file.exists() else {}
if sys.argv[1] == "fit":
    (folder / "config.yaml").write_text("data: {pictures: " + options.get("data.pictures", "right") + "}")
    (folder / "last.ckpt").touch()
section = "fit" if sys.argv[1] == "fit" else "test" if "data.pictures" not in options else "test_" + pictures
file.write_text(json.dumps({**known, section: {"test/f1": 0.5}}))
"""
"""What `mmie fit` and `mmie test` leave in a run folder, without their work."""


@pytest.fixture
def sweep(tmp_path):
    """Runs a sweep with a stand-in for the command; gives the steps of each run by the end of its folder's name."""
    (tmp_path / "mmie.py").write_text(STAND_IN)

    def start(*settings, seeds="1", refused=None, **options):
        steps = {}
        jobs = plan([str(RAP)], settings, seeds, tmp_path / "out")
        command = [sys.executable, "-S", str(tmp_path / "mmie.py")]
        told = lambda outcome: steps.update({outcome.job.folder.name: outcome.steps})  # noqa: E731
        if refused is None:
            run_sweep(jobs, report=told, command=command, **options)
        else:
            with pytest.raises(SweepError, match=refused):
                run_sweep(jobs, report=told, command=command, **options)
        return steps

    return start


def test_one_failing_run_does_not_stop_the_others(sweep, tmp_path):
    bad = tmp_path / "out" / "demo_rap" / "model.text_lr=bad" / "seed_1234"
    sweep("model.text_lr=1,bad,2", refused=f"1 of 3 runs failed: {bad / 'sweep.log'} \\(fit\\)")
    assert "this one fails" in (bad / "sweep.log").read_text()
    for rate in (1, 2):
        assert metrics(bad.parents[1] / f"model.text_lr={rate}" / "seed_1234").keys() == {
            "fit",
            "test",
        }


def test_what_is_finished_is_not_run_again(sweep):
    assert sweep(seeds="2") == {"seed_1234": ("fit", "test"), "seed_1235": ("fit", "test")}
    assert sweep(seeds="3") == {"seed_1234": (), "seed_1235": (), "seed_1236": ("fit", "test")}


def test_only_the_steps_that_are_missing_are_run(sweep, tmp_path):
    sweep()
    run_dir = tmp_path / "out" / "demo_rap" / "seed_1234"
    (run_dir / "no_test").touch()
    sweep(test_pictures=True, refused="test_shuffled")
    (run_dir / "no_test").unlink()
    assert sweep(test_pictures=True) == {"seed_1234": ("test_shuffled", "test_none")}
    assert sweep(test_pictures=True) == {"seed_1234": ()}


@pytest.mark.parametrize(
    ("pictures", "steps"),
    [("none", ()), ("shuffled", ("test_none",)), ("right", ("test_shuffled", "test_none"))],
)
def test_the_picture_test_leaves_out_the_pictures_of_the_fit(sweep, pictures, steps):
    found = sweep(f"data.pictures={pictures}", test_pictures=True)
    assert found == {"seed_1234": ("fit", "test", *steps)}


def test_processes_share_the_cores(sweep, tmp_path):
    sweep(seeds="2", at_once=2)
    threads = max(1, (os.cpu_count() or 1) // 2)
    assert (
        f"threads {threads}\n"
        in (tmp_path / "out" / "demo_rap" / "seed_1235" / "sweep.log").read_text()
    )


def test_a_folder_of_another_sweep_is_refused_before_anything_is_run(sweep, tmp_path):
    sweep("model.dropout=0.1")
    assert (
        sweep("model.dropout=0.2", seeds="2", refused="other settings or another configuration")
        == {}
    )
    fitted = tmp_path / "out" / "demo_rap" / "seed_1235"
    fitted.mkdir()
    (fitted / "last.ckpt").touch()
    sweep("model.dropout=0.1", seeds="2", refused=str(fitted))


def test_a_real_run_is_swept_and_an_interrupted_one_goes_on(demo_root, tmp_path):
    config, out = tmp_path / "small.yaml", tmp_path / "out"
    small = yaml.safe_load(TEXT_ONLY.read_text())
    small["model"]["init_args"]["text_encoder"] = str(demo_root / "encoder")
    small["data"]["corpus"] = {
        "class_path": "mmie.data.JsonlCorpus",
        "init_args": {"root": str(demo_root)},
    }
    small["trainer"] = {"max_epochs": 1, "accelerator": "cpu", "limit_train_batches": 1}
    config.write_text(yaml.safe_dump(small))
    line = ["sweep", config, "--seeds=2", f"--out={out}", "--only=1", "--jobs=2"]
    run_dir = out / "small" / "seed_1235"
    ended = succeed(*line)
    assert f"{run_dir}: fit, test, test F1" in ended.out
    assert ended.out.splitlines()[-1] == str(out)
    assert yaml.safe_load((run_dir / "config.yaml").read_text())["seed_everything"] == 1235
    assert not (out / "small" / "seed_1234").exists()
    record, known = json.loads((run_dir / "sweep.json").read_text()), metrics(run_dir)
    (run_dir / "sweep.json").write_text(json.dumps({**record, "fitted": False}))
    succeed(*line)
    assert f"--ckpt_path={run_dir / 'last.ckpt'}" in (run_dir / "sweep.log").read_text()
    assert metrics(run_dir) == known
    ended = run(*line, "--only=2")
    assert ended.status == 2
    assert "from 0 to 1" in ended.err
