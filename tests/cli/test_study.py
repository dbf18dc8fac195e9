"""`mmie study`."""

import json

import pytest
import yaml
from helpers.command import run, succeed
from helpers.paths import CONFIGS

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("_forked_runs")]


def small_config(method, corpus):
    """A demo configuration of one training step on a corpus."""
    config = yaml.safe_load((CONFIGS / f"demo_{method}.yaml").read_text())
    config["model"]["init_args"]["text_encoder"] = str(corpus / "encoder")
    config["data"]["corpus"] = {
        "class_path": "mmie.data.JsonlCorpus",
        "init_args": {"root": str(corpus)},
    }
    config["data"]["batch_size"] = 4
    config["trainer"] = {"max_epochs": 1, "accelerator": "cpu", "limit_train_batches": 1}
    return config


@pytest.fixture
def write_config(demo_root, tmp_path):
    """Function that writes a small configuration and returns its file."""

    def write(method):
        file = tmp_path / f"{method}.yaml"
        file.write_text(yaml.safe_dump(small_config(method, demo_root)))
        return file

    return write


def study_rows(out):
    """Return the rows of a study's report."""
    return json.loads((out / "study.json").read_text())["rows"]


def test_a_cross_task_study_is_run_and_reported(demo_root, tmp_path):
    config = small_config("text_only", demo_root)
    for task in ("ner", "re"):
        config["data"]["task"] = task
        (tmp_path / f"{task}.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "out"
    output = succeed(
        "study",
        "cross-task",
        tmp_path / "ner.yaml",
        tmp_path / "re.yaml",
        "--seeds=1",
        "--jobs=2",
        f"--out={out}",
    ).out
    assert output.splitlines()[-3:] == [
        str(out / f"study.{kind}") for kind in ("html", "md", "json")
    ]
    rows = study_rows(out)
    assert [row["setting"] for row in rows] == ["own weights", "weights from JsonlCorpus"] * 2
    log = (out / "re_from_ner" / "seed_1234" / "sweep.log").read_text()
    assert f"init_from {out / 'ner' / 'seed_1234' / 'best.ckpt'}: took over" in log
    refused = run("study", "low-resource", tmp_path / "ner.yaml", f"--out={out}", "--fractions=2")
    assert refused.status == 1
    assert "fractions is '2'" in refused.err


def test_a_pretraining_study_chains_the_pretraining(write_config, tmp_path):
    out = tmp_path / "out"
    config, _ = write_config("mlnet"), write_config("mlnet_pretrain")
    succeed("study", "pretraining", config, "--seeds=1", "--jobs=2", f"--out={out}")
    full, without = study_rows(out)
    assert (full["setting"], without["setting"]) == (
        "pretrained",
        "without the method's pretraining",
    )
    assert full["against"] is None
    assert without["against"]["first"] == "without the method's pretraining"
    log = (out / "mlnet" / "full" / "seed_1234" / "sweep.log").read_text()
    assert "took over" in log
    pretraining = (out / "mlnet_pretrain" / "seed_1234" / "sweep.log").read_text()
    assert "mmie.cli fit" in pretraining
    assert "mmie.cli test" not in pretraining
    assert "Does pretraining help?" in (out / "study.html").read_text()


def test_a_sweep_figure_orders_its_values(write_config, tmp_path):
    out = tmp_path / "out"
    config = write_config("hvpnet")
    options = ["--vary=num_objects", "--values=0", "--seeds=1", "--jobs=2", f"--out={out}"]
    succeed("study", "sweep-figure", config, *options)
    rows = study_rows(out)
    assert [(row["setting"], row["value"]) for row in rows] == [
        ("num_objects = 0", 0),
        ("num_objects = 3", 3),
    ]
    assert rows[0]["against"]["second"] == "num_objects = 3"
    assert "value of the configuration" in (out / "study.md").read_text()


@pytest.mark.parametrize(
    ("kind", "method", "runs", "label"),
    [
        ("ablations", "dghc", 4, "w/o RE Score (Table 5)"),
        ("crops", "rap", 4, "no crops"),
    ],
)
def test_a_dry_run_lists_the_runs_alone(write_config, tmp_path, kind, method, runs, label):
    out = tmp_path / "out"
    config = write_config(method)
    lines = succeed("study", kind, config, "--seeds=1", f"--out={out}", "--dry-run").out
    assert len(lines.splitlines()) == runs
    assert all(line.startswith("mmie fit --config=") for line in lines.splitlines())
    assert f"# {label}" in lines
    assert not out.exists()


def test_a_dry_run_of_a_cross_domain_study_lists_its_tests(tmp_path):
    configs = [CONFIGS / f"dghc_twitter{year}.yaml" for year in (2015, 2017)]
    options = ["--seeds=1", f"--out={tmp_path}", "--dry-run"]
    lines = succeed("study", "cross-domain", *configs, *options).out.splitlines()
    assert [line.split()[1] for line in lines] == ["fit", "fit", "test", "test"]
    assert "# corpus of" in lines[2]


def test_a_study_of_a_method_without_a_table_is_refused(write_config, tmp_path):
    outcome = run("study", "ablations", write_config("text_only"), f"--out={tmp_path / 'out'}")
    assert outcome.status == 1
    assert "has no ablations" in outcome.err
