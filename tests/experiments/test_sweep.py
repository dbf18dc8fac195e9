"""A sweep is the product of configurations, settings and seeds, in folders with safe names."""

import pytest
from helpers.paths import CONFIGS

from mmie.experiments.sweep import (
    SweepError,
    parse_seeds,
    plan_sweep,
    split_setting,
    split_values,
)

TEXT_ONLY = CONFIGS / "demo_text_only.yaml"
RAP = CONFIGS / "demo_rap.yaml"


def folders(jobs, out):
    """Folders of jobs, relative to the sweep's folder."""
    return [str(job.folder.relative_to(out)) for job in jobs]


def test_a_plan_is_the_product_of_configurations_settings_and_seeds(tmp_path):
    jobs = plan_sweep(
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


def test_later_configurations_override_earlier_ones(tmp_path):
    (job,) = plan_sweep([f"{RAP}+{CONFIGS / 'hardware' / 'cpu.yaml'}"], [], "7,", tmp_path)
    assert job.configs == (RAP, CONFIGS / "hardware" / "cpu.yaml")
    assert job.folder == tmp_path / "demo_rap+cpu" / "seed_7"


def test_globs_are_expanded_to_configurations(tmp_path):
    for name in ("b", "a"):
        (tmp_path / f"{name}.yaml").touch()
    jobs = plan_sweep([f"{tmp_path}/*.yaml+{RAP}"], [], "1", tmp_path)
    assert folders(jobs, tmp_path) == ["a+demo_rap/seed_1234", "b+demo_rap/seed_1234"]
    with pytest.raises(
        SweepError, match=r"none_.*yaml does not exist: expected a configuration file"
    ):
        plan_sweep([f"{tmp_path}/none_*.yaml"], [], "1", tmp_path)


def test_folder_names_hold_no_special_characters_of_shells_and_paths(tmp_path):
    jobs = plan_sweep(
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


@pytest.mark.parametrize("text", ["", "0", "-1", "many", "1,1", "2,x", "1234"])
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
        plan_sweep(configs, settings, "2", tmp_path)


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("data.task=ner", ("data.task", "ner")),
        (" --data.task=a=b", ("data.task", "a=b")),
        ("data.task", ("data.task", "")),
    ],
)
def test_settings_are_split_at_the_first_equals_sign(setting, parts):
    assert split_setting(setting) == parts
