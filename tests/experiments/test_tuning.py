"""A search by Optuna: its space, its trials, and how it goes on."""

import json
import sys

import pytest
from helpers.paths import CONFIGS

from mmie.experiments.sweep import SweepError, plan_sweep
from mmie.experiments.tuning import STORAGE, TuningPlan, describe_trial, read_space, run_tuning

optuna = pytest.importorskip("optuna", reason="needs Optuna: mmie[tune]")

pytestmark = pytest.mark.slow

RAP = CONFIGS / "demo_rap.yaml"
FIT = """
import json, pathlib, sys
options = dict(option.lstrip("-").split("=", 1) for option in sys.argv[2:])
folder = pathlib.Path(options["run_dir"])
rate, size = float(options["model.text_lr"]), int(options["data.batch_size"])
if (folder.parents[1] / "no_fit").exists():
    sys.exit("this one fails")
assert sys.argv[1] == "fit" and options["model.dropout"] == "0.1"
(folder / "config.yaml").write_text("data: {}")
for name in ("last.ckpt", "best.ckpt"):
    (folder / name).touch()
f1 = 1 - abs(rate - 0.5) - 0.01 * size + 0.001 * (int(options["seed_everything"]) - 1234)
(folder / "metrics.json").write_text(json.dumps({"fit": {"best": {"val/f1": f1}}}))
"""
"""Script whose score is highest for a rate of 0.5 and a small batch."""
SPACE = "model.text_lr: {low: 0.0, high: 1.0}\ndata.batch_size: [1, 2]\n"


@pytest.fixture
def search(tmp_path):
    """Function that searches with a fake command and returns the best trial and all outcomes."""
    script, space = tmp_path / "mmie.py", tmp_path / "space.yaml"
    script.write_text(FIT)
    space.write_text(SPACE)

    def start(num_trials, *settings, seeds=(1234,), **options):
        (job, *_) = plan_sweep(
            [str(RAP)], ["model.dropout=0.1", *settings], "1", tmp_path / "unused"
        )
        plan = TuningPlan(job.configs, job.settings, seeds, tmp_path / "out")
        outcomes = []
        command = [sys.executable, "-S", str(script)]
        best = run_tuning(
            plan, read_space(space), num_trials, report=outcomes.append, command=command, **options
        )
        return best, outcomes

    return start


def read_study(tmp_path):
    """Load the study as another program of Optuna would."""
    return optuna.load_study(study_name=None, storage=f"sqlite:///{tmp_path / 'out' / STORAGE}")


def test_trials_are_run_folders_and_the_best_one_is_returned(search, tmp_path):
    best, outcomes = search(14, max_parallel=2, seeds=(1234, 1236))
    assert sorted(outcome.number for outcome in outcomes) == list(range(14))
    assert best == max(outcomes, key=lambda outcome: outcome.value)
    study = read_study(tmp_path)
    assert study.best_trial.number == best.number
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}
    folder = tmp_path / "out" / f"trial_{best.number:03d}"
    scores = []
    for seed in (1234, 1236):
        record = json.loads((folder / f"seed_{seed}" / "metrics.json").read_text())
        scores.append(record["fit"]["best"]["val/f1"])
    assert best.value == pytest.approx(sum(scores) / 2)
    log = (folder / "seed_1236" / "sweep.log").read_text()
    assert f"--model.text_lr={study.best_params['model.text_lr']}" in log
    assert describe_trial(best).startswith(f"trial {best.number}: val/f1 {100 * best.value:.2f}")


def test_a_search_goes_on_with_other_proposals(search, tmp_path):
    _, first = search(3)
    _, second = search(6)
    assert [outcome.number for outcome in second] == [3, 4, 5]
    rates = {outcome.settings for outcome in (*first, *second)}
    assert len(rates) == 6
    assert search(6)[1] == []


def test_a_trial_that_was_interrupted_is_continued(search, tmp_path):
    search(1)
    study = read_study(tmp_path)
    space = read_space(tmp_path / "space.yaml")
    interrupted = study.ask(fixed_distributions=space)
    _, outcomes = search(3)
    assert [outcome.number for outcome in outcomes] == [1, 2]
    assert dict(outcomes[0].settings)["data.batch_size"] == interrupted.params["data.batch_size"]
    assert read_study(tmp_path).trials[1].state.name == "COMPLETE"


def test_failed_trials_are_recorded_and_leave_no_best_one(search, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "no_fit").touch()
    with pytest.raises(SweepError, match=r"none of 2 trials has succeeded: see the sweep\.log"):
        search(2)
    assert {trial.state.name for trial in read_study(tmp_path).trials} == {"FAIL"}
    (tmp_path / "out" / "no_fit").unlink()
    best, outcomes = search(3)
    assert [outcome.number for outcome in outcomes] == [best.number] == [2]


def test_another_search_in_the_folder_is_refused(search, tmp_path):
    search(1)
    with pytest.raises(SweepError, match="holds a search with another configuration, other set"):
        search(2, "data.task=re")
    with pytest.raises(SweepError, match="holds a search"):
        search(2, seeds=(7,))
    (tmp_path / "space.yaml").write_text("data.batch_size: [1, 2, 3]\n")
    with pytest.raises(SweepError, match="the space differs from earlier trials: "):
        search(2)


def test_the_sampler_is_one_of_optuna(search):
    assert len(search(2, sampler="RandomSampler")[1]) == 2
    for name in ("Nobody", "BaseSampler.x", "os"):
        with pytest.raises(SweepError, match=f"sampler is '{name}': expected a class of optuna"):
            search(3, sampler=name)


def test_spans_and_choices_become_distributions(tmp_path):
    file = tmp_path / "space.yaml"
    file.write_text(
        "a: {low: 1e-5, high: 0.1, log: true}\nb: {low: 1, high: 9, step: 2}\n"
        "c: [true, null, resnet50, [rau, cfu], 0.5]\nd: {low: 0, high: 1, step: 0.25}\n"
    )
    distributions = optuna.distributions
    assert read_space(file) == {
        "a": distributions.FloatDistribution(1e-5, 0.1, log=True),
        "b": distributions.IntDistribution(1, 9, step=2),
        "c": distributions.CategoricalDistribution(
            ("true", "null", "resnet50", '["rau", "cfu"]', "0.5")
        ),
        "d": distributions.FloatDistribution(0.0, 1.0, step=0.25),
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "expected settings, each with"),
        ("[1]", "expected settings, each with"),
        ("a: [1", "expected a space of settings"),
        ("a: 5", "a is 5: expected {low: 1, high: 8}"),
        ("a: []", "expected {low"),
        ("a: {low: 1}", "expected {low"),
        ("a: {low: 2, high: 1}", "expected {low"),
        ("a: {low: x, high: 1}", "expected {low"),
        ("a: {low: 0, high: 1, log: 5}", "log is 5"),
        ("a: {low: 0, high: 1, kind: int}", "expected {low"),
        ("run_dir: [a, b]", "a sweep sets run_dir itself"),
    ],
)
def test_a_wrong_space_is_refused(tmp_path, text, found):
    file = tmp_path / "space.yaml"
    file.write_text(text)
    with pytest.raises(SweepError) as caught:
        read_space(file)
    assert str(caught.value).startswith(f"{file}: ")
    assert found in str(caught.value)
    with pytest.raises(SweepError, match=r"none.yaml: expected a space of settings"):
        read_space(tmp_path / "none.yaml")
