"""The papers' studies: their runs, and the scores that a fake command gives them."""

import json
import re
import shutil
import sys

import pytest
from helpers.command import metrics
from helpers.paths import CONFIGS

from mmie.experiments.studies import (
    parse_fractions,
    plan_cross_domain,
    plan_cross_task,
    plan_low_resource,
)
from mmie.experiments.sweep import SweepError
from mmie.experiments.sweep_runner import run_sweep
from mmie.reports.charts import can_draw
from mmie.reports.study.page import study_table, to_html, to_markdown, write_study
from mmie.reports.study.study import summarise_study

pytestmark = pytest.mark.slow

IMM_2017, IMM_MNRE = str(CONFIGS / "imm_twitter2017.yaml"), str(CONFIGS / "imm_mnre.yaml")
DGHC_2015, DGHC_2017 = (
    str(CONFIGS / "dghc_twitter2015.yaml"),
    str(CONFIGS / "dghc_twitter2017.yaml"),
)

FAKE_COMMAND = """
import json, pathlib, sys, yaml
options = dict(option.removeprefix("--").split("=", 1) for option in sys.argv[2:])
folder = pathlib.Path(options["run_dir"])
if (folder / "fails").exists():
    sys.exit("this one fails")
config = yaml.safe_load(pathlib.Path(options["config"]).read_text())
checkpoint = pathlib.Path(options.get("ckpt_path", folder / "best.ckpt"))
file = folder / "metrics.json"
known = json.loads(file.read_text()) if file.exists() else {}
if sys.argv[1] == "fit":
    config["data"]["train_fraction"] = float(options.get("data.train_fraction", 1))
    config["model"]["init_args"]["init_from"] = source = options.get("model.init_args.init_from")
    assert source is None or pathlib.Path(source).exists(), source
    config["seed_everything"] = int(options["seed_everything"])
    for name in ("best.ckpt", "last.ckpt"):
        (folder / name).touch()
    section = {"fit": {}}
else:
    assert checkpoint.exists(), checkpoint
    helped = config["model"]["init_args"]["init_from"] is not None
    f1 = 0.5 * config["data"]["train_fraction"] ** 0.5 + 0.1 * helped
    f1 += 0.01 * (config["seed_everything"] - 1234)
    if "data.corpus" in options:
        config["data"]["corpus"] = json.loads(options["data.corpus"])
        f1 /= 2
    scores = {"test/f1": f1, "test/precision": f1, "test/recall": f1}
    section = {"test": {**scores, "checkpoint": str(checkpoint)}}
    gold = [{"start": 0, "end": 1, "type": "PER"}]
    found = gold if helped else []
    line = {"words": ["a"], "image": None, "gold": gold, "predicted": found}
    lines = [{"id": str(n), **line} for n in range(30)]
    (folder / "predictions.jsonl").write_text("".join(json.dumps(line) + chr(10) for line in lines))
if not (folder / "config.yaml").exists():
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
file.write_text(json.dumps({**known, **section}))
"""
"""Script whose runs score the root of their fraction, and more with another run's weights."""


def folders(jobs, out):
    """Folders of jobs, relative to the study's folder."""
    return [str(job.folder.relative_to(out)) for job in jobs]


@pytest.fixture
def study(tmp_path):
    """Runs the jobs of a study with the fake command, and reads their scores."""
    (tmp_path / "mmie.py").write_text(FAKE_COMMAND)

    def start(kind, jobs, max_parallel=2):
        command = [sys.executable, str(tmp_path / "mmie.py")]
        start.steps = {}

        def record(outcome):
            start.steps[outcome.job.folder] = outcome.steps

        run_sweep(jobs, max_parallel, report=record, command=command)
        return summarise_study(
            kind, {job.folder: job.after[0].folder if job.after else None for job in jobs}, 200
        )

    return start


@pytest.mark.parametrize("text", ["", "0", "0,1", "1.5", "-0.1", "many", "0.5,0.50", "nan"])
def test_wrong_fractions_are_refused(text):
    with pytest.raises(SweepError, match="expected different shares"):
        parse_fractions(text)


def test_low_resource_plans_every_run_with_every_fraction(tmp_path):
    jobs = plan_low_resource([DGHC_2015, IMM_MNRE], "1,0.05", ["data.batch_size=8"], "2", tmp_path)
    assert folders(jobs, tmp_path) == [
        f"{stem}/share_{share}/seed_{seed}"
        for share in ("0.05", "1")
        for stem in ("dghc_twitter2015", "imm_mnre")
        for seed in (1234, 1235)
    ]
    assert jobs[0].settings == (("data.batch_size", "8"), ("data.train_fraction", "0.05"))
    more = plan_low_resource([DGHC_2015], "0.05,0.1,1", ["data.batch_size=8"], "1", tmp_path)
    assert {jobs[0], jobs[4]} < set(more), "further fractions and seeds must find the finished runs"


def test_cross_task_starts_each_run_from_the_other_run_of_its_seed(tmp_path):
    jobs = plan_cross_task(IMM_2017, IMM_MNRE, [], "2", tmp_path)
    assert folders(jobs, tmp_path)[:4] == [
        f"{stem}/seed_{seed}" for seed in (1234, 1235) for stem in ("imm_twitter2017", "imm_mnre")
    ]
    crossed = {str(job.folder.relative_to(tmp_path)): job for job in jobs[4:]}
    job = crossed["imm_mnre_from_imm_twitter2017/seed_1235"]
    source = tmp_path / "imm_twitter2017" / "seed_1235"
    assert [other.folder for other in job.after] == [source]
    assert f"--model.init_args.init_from={source / 'best.ckpt'}" in job.fit_options
    assert f"--config={IMM_MNRE}" in job.fit_options
    assert len(crossed) == 4


def test_cross_domain_tests_each_on_the_other_corpus(tmp_path):
    jobs = plan_cross_domain(DGHC_2015, DGHC_2017, [], "1", tmp_path)
    assert [job.fits for job in jobs] == [True, True, False, False]
    assert folders(jobs, tmp_path)[2:] == [
        "dghc_twitter2015_on_dghc_twitter2017/seed_1234",
        "dghc_twitter2017_on_dghc_twitter2015/seed_1234",
    ]
    assert jobs[2].after == (jobs[0], jobs[1])
    assert jobs[3].after == (jobs[1], jobs[0])


@pytest.mark.parametrize(
    ("plan_study", "first", "second", "settings", "message"),
    [
        (plan_cross_task, IMM_2017, DGHC_2015, [], "same data.task"),
        (plan_cross_task, IMM_2017, IMM_MNRE, ["data.task=ner"], "the study sets data.task itself"),
        (plan_cross_task, IMM_2017, IMM_MNRE, ["model.init_args.init_from=a"], "the study sets"),
        (plan_cross_task, IMM_2017, IMM_MNRE, ["model.text_lr=1,2"], "one value"),
        (plan_cross_task, IMM_2017, IMM_2017, [], "share"),
        (plan_cross_task, IMM_2017, str(CONFIGS / "imm_*.yaml"), [], r"share|two configurations"),
        (plan_cross_domain, IMM_2017, IMM_MNRE, [], "differ in data.task"),
        (plan_cross_domain, DGHC_2017, IMM_2017, [], "same data.corpus"),
        (
            plan_cross_domain,
            DGHC_2017,
            DGHC_2015,
            ["data.corpus.root=x"],
            "the study sets data.corpus.root itself",
        ),
        (plan_cross_domain, DGHC_2017, "nowhere.yaml", [], "nowhere.yaml"),
    ],
)
def test_wrong_studies_are_refused(tmp_path, plan_study, first, second, settings, message):
    with pytest.raises(SweepError, match=message):
        plan_study(first, second, settings, "1", tmp_path)
    with pytest.raises(SweepError, match=r"sets data\.train_fraction itself, see --fractions"):
        plan_low_resource([first], "1", ["--data.train_fraction=1"], "1", tmp_path)


def test_low_resource_gives_the_score_of_each_fraction(study, tmp_path):
    jobs = plan_low_resource([DGHC_2015, IMM_MNRE], "0.25,1", [], "2", tmp_path)
    found = study("low-resource", jobs)
    assert [(row.tested, row.system, row.setting) for row in found.rows] == [
        ("Twitter2015, entities", "DGHC", "25 %"),
        ("Twitter2015, entities", "DGHC", "100 %"),
        ("MNRE, relations", "IMM", "25 %"),
        ("MNRE, relations", "IMM", "100 %"),
    ]
    assert found.rows[0].scores["f1"].values == pytest.approx((0.25, 0.26))
    assert [row.published for row in found.rows] == [None, 73.93, None, 83.01]
    assert found.rows[0].against is not None
    assert found.rows[1].against is None
    again = study("low-resource", plan_low_resource([DGHC_2015], "0.25,0.5,1", [], "2", tmp_path))
    assert [steps for steps in study.steps.values() if steps] == 2 * [("fit", "test")]
    assert [row.setting for row in again.rows] == ["25 %", "50 %", "100 %"]


def test_two_configurations_of_one_method_are_two_systems(study, tmp_path):
    jobs = plan_low_resource([IMM_MNRE], "0.25,1", ["model.text_lr=1,2"], "1", tmp_path)
    found = study("low-resource", jobs)
    names = ["IMM (model.text_lr=1)", "IMM (model.text_lr=2)"]
    assert [row.system for row in found.rows] == [name for name in names for _ in range(2)]


def test_cross_task_compares_the_other_tasks_weights_with_its_own(study, tmp_path):
    found = study("cross-task", plan_cross_task(IMM_2017, IMM_MNRE, [], "2", tmp_path))
    assert [(row.tested, row.setting, row.published) for row in found.rows] == [
        ("Twitter2017, entities", "own weights", 87.62),
        ("Twitter2017, entities", "weights from MNRE", 87.94),
        ("MNRE, relations", "own weights", 83.01),
        ("MNRE, relations", "weights from Twitter2017", 83.80),
    ]
    assert found.rows[1].scores["f1"].mean - found.rows[0].scores["f1"].mean == pytest.approx(0.1)
    assert found.rows[1].against.difference == pytest.approx(
        1
    )  # of the answers, which are all right and all missing
    assert found.rows[1].against.p_holm == pytest.approx(0.02)  # two seeds, two differences
    assert {(row.method, row.f1) for row in found.reported} == {
        ("IMM", 83.80),
        ("IMM", 87.94),
        ("HVPNet", 82.50),
        ("HVPNet", 87.31),
    }


def test_cross_domain_gives_the_score_of_each_training_on_each_corpus(study, tmp_path):
    found = study("cross-domain", plan_cross_domain(DGHC_2015, DGHC_2017, [], "1", tmp_path))
    assert [(row.tested, row.setting, row.published) for row in found.rows] == [
        ("Twitter2015, entities", "trained on Twitter2015", 73.93),
        ("Twitter2015, entities", "trained on Twitter2017", 66.56),
        ("Twitter2017, entities", "trained on Twitter2017", 87.35),
        ("Twitter2017, entities", "trained on Twitter2015", 60.81),
    ]
    assert [row.scores["f1"].mean for row in found.rows] == pytest.approx([0.5, 0.25, 0.5, 0.25])
    assert {(row.method, row.f1) for row in found.reported} >= {("DGHC", 60.81), ("MLNet", 66.28)}
    away = tmp_path / "dghc_twitter2015_on_dghc_twitter2017" / "seed_1234"
    assert metrics(away)["test"]["checkpoint"] == str(
        tmp_path / "dghc_twitter2015" / "seed_1234" / "best.ckpt"
    )
    study("cross-domain", plan_cross_domain(DGHC_2015, DGHC_2017, [], "1", tmp_path))
    assert not any(study.steps.values()), "a finished study must not run again"


def test_runs_that_need_a_failed_run_are_run_later(study, tmp_path):
    jobs = plan_cross_task(IMM_2017, IMM_MNRE, [], "1", tmp_path)
    jobs[0].folder.mkdir(parents=True)
    (jobs[0].folder / "fails").touch()
    with pytest.raises(
        SweepError,
        match=rf"^1 of 4 runs failed: {jobs[0].folder}/sweep.log \(fit\); 1 more need them",
    ):
        study("cross-task", jobs, max_parallel=1)
    (jobs[0].folder / "fails").unlink()
    study("cross-task", jobs)
    assert {folder.parent.name: steps for folder, steps in study.steps.items() if steps} == {
        "imm_twitter2017": ("fit", "test"),
        "imm_mnre_from_imm_twitter2017": ("fit", "test"),
    }


def test_runs_that_started_from_another_configuration_are_refused(study, tmp_path):
    other = tmp_path / "imm_twitter2017.yaml"
    other.write_text((CONFIGS / "imm_twitter2017.yaml").read_text())
    jobs = plan_cross_task(str(other), IMM_MNRE, [], "1", tmp_path / "out")
    study("cross-task", jobs)
    other.write_text(other.read_text() + "\n# changed")
    for name in ("imm_twitter2017", "imm_twitter2017_from_imm_mnre"):
        shutil.rmtree(tmp_path / "out" / name)
    with pytest.raises(
        SweepError, match=r"imm_mnre_from_imm_twitter2017.* holds a run with other settings"
    ):
        study("cross-task", jobs)


def test_a_foreign_test_in_a_folder_is_refused(study, tmp_path):
    jobs = plan_cross_domain(DGHC_2015, DGHC_2017, [], "1", tmp_path)
    jobs[2].folder.mkdir(parents=True)
    (jobs[2].folder / "config.yaml").touch()
    with pytest.raises(SweepError, match=str(jobs[2].folder)):
        study("cross-domain", jobs)


def test_the_page_stands_alone_and_the_tables_agree(study, tmp_path):
    found = study("cross-task", plan_cross_task(IMM_2017, IMM_MNRE, [], "2", tmp_path))
    page, markdown, record = write_study(found, tmp_path / "report")
    text = page.read_text()
    assert not re.search(r"@import|url\((?!#)|https?://(?!www\.w3\.org)|src=", text)
    assert "83.80" in text
    assert ("<svg" in text) == can_draw()
    assert "| MNRE, relations | IMM | weights from Twitter2017 | 2 |" in markdown.read_text()
    assert json.loads(record.read_text())["rows"][3]["published"] == 83.80
    assert study_table(found).row_count == 4


def test_every_kind_has_its_words_and_sections(study, tmp_path):
    low = study(
        "low-resource",
        plan_low_resource([DGHC_2015, IMM_MNRE], "0.25,1", [], "1", tmp_path / "low"),
    )
    text = to_html(low)
    assert text.count("<svg") == 2 * can_draw()
    assert "10 %" not in to_markdown(low)
    cross = study(
        "cross-domain", plan_cross_domain(DGHC_2015, DGHC_2017, [], "1", tmp_path / "cross")
    )
    assert to_html(cross).count("<svg") == can_draw()
