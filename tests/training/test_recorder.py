"""What a run leaves in its folder, seen from the command line."""

import csv
import shutil

import pytest
import torch
import yaml
from helpers.command import (
    gold,
    metrics,
    predicted,
    predictions,
    read_jsonl,
    run,
    spans,
    succeed,
    tiny_options,
    without_times,
)

from mmie.methods.loading import load_method

TASKS = ("ner", "re")
EPOCHS = 4


@pytest.fixture(scope="module")
def runs(demo_root, tmp_path_factory):
    """A fitted run folder for each task; copy one before changing it."""
    folder = tmp_path_factory.mktemp("runs")
    for task in TASKS:
        outcome = succeed(
            "fit", *options(demo_root, folder / task, task), f"--trainer.max_epochs={EPOCHS}"
        )
        assert outcome.err == ""
    return folder


@pytest.fixture
def run_dir(runs, tmp_path):
    """A fitted run folder of one's own, for entities."""
    shutil.copytree(runs / "ner", tmp_path / "run")
    return tmp_path / "run"


def options(corpus, run_dir, task="ner"):
    rates = ["--model.text_lr=0.003", "--model.head_lr=0.02"]
    return [*tiny_options("text_only", corpus, run_dir), f"--data.task={task}", *rates]


def rows(run_dir):
    with (run_dir / "metrics.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def gold_of_corpus(corpus, task):
    """Gold labels of the test split in its order, read from its file alone."""
    posts = read_jsonl(corpus / "test.jsonl")
    if task == "ner":
        return [(post["id"], post["entities"]) for post in posts]
    return [(post["id"], relation) for post in posts for relation in post["relations"]]


def entity_f1(lines):
    """Micro F1 over the lines of a predictions file."""
    hits = sum(len(spans(predicted(line)) & spans(gold(line))) for line in lines)
    counts = sum(len(spans(predicted(line))) + len(spans(gold(line))) for line in lines)
    return 2 * hits / counts


def relation_f1(lines):
    """Micro F1 over all labels but None."""
    pairs = [(gold(line)[0]["label"], predicted(line)[0]["label"]) for line in lines]
    hits = sum(left == right != "None" for left, right in pairs)
    return 2 * hits / sum((left != "None") + (right != "None") for left, right in pairs)


@pytest.mark.parametrize("task", TASKS)
def test_a_fit_leaves_its_files(runs, task):
    names = {path.name for path in (runs / task).iterdir()}
    assert names >= {"config.yaml", "metrics.json", "metrics.csv", "best.ckpt", "last.ckpt"}
    assert "predictions.jsonl" not in names
    assert not [name for name in names if name.startswith(".")]


@pytest.mark.parametrize("task", TASKS)
def test_the_fit_section_says_what_happened(runs, task):
    fit = metrics(runs / task)["fit"]
    assert [epoch["epoch"] for epoch in fit["epochs"]] == list(range(EPOCHS))
    for epoch in fit["epochs"]:
        assert 0 < epoch["train_seconds"] < epoch["seconds"] < 60
        assert epoch["train/loss"] > 0
        assert 0 <= epoch["val/f1"] <= 1
    assert fit["best"] == max(fit["epochs"], key=lambda epoch: epoch["val/f1"])
    assert 0.01 < fit["peak_memory_gib"] < 100
    module = load_method(runs / task / "best.ckpt")
    assert (
        fit["parameters"]
        == fit["trained_parameters"]
        == sum(p.numel() for p in module.parameters())
    )


def test_frozen_parameters_are_not_counted_as_trained(demo_root, tmp_path):
    succeed("fit", *options(demo_root, tmp_path / "run"), "--model.freeze_text=true")
    fit = metrics(tmp_path / "run")["fit"]
    head = load_method(tmp_path / "run" / "best.ckpt").head
    assert (
        fit["trained_parameters"] == sum(p.numel() for p in head.parameters()) < fit["parameters"]
    )


@pytest.mark.parametrize("task", TASKS)
def test_best_and_last_are_the_best_and_the_last(runs, task):
    fit = metrics(runs / task)["fit"]
    epochs = {
        name: torch.load(runs / task / f"{name}.ckpt", weights_only=True)["epoch"]
        for name in ("best", "last")
    }
    assert epochs == {"best": fit["best"]["epoch"], "last": EPOCHS - 1}


def test_metrics_csv_has_every_epoch_once(runs):
    epochs = metrics(runs / "ner")["fit"]["epochs"]
    logged = [float(row["val/f1"]) for row in rows(runs / "ner") if row["val/f1"]]
    assert logged == [epoch["val/f1"] for epoch in epochs]


def test_the_config_is_complete_and_as_given(runs):
    config = yaml.safe_load((runs / "re" / "config.yaml").read_text())
    assert config["data"]["task"] == "re"
    assert config["model"]["init_args"]["text_lr"] == 0.003
    assert config["model"]["init_args"]["dropout"] == 0.1  # never given
    assert config["seed_everything"] == 1234


@pytest.mark.parametrize(("task", "score"), [("ner", entity_f1), ("re", relation_f1)])
def test_a_test_writes_predictions_from_which_its_score_follows(
    runs, demo_root, tmp_path, task, score
):
    folder = tmp_path / "run"
    shutil.copytree(runs / task, folder)
    kept = {
        name: (folder / name).read_bytes()
        for name in ("config.yaml", "metrics.csv", "best.ckpt", "last.ckpt")
    }
    outcome = succeed("test", *options(demo_root, folder, task))
    lines = predictions(folder)
    expected = gold_of_corpus(demo_root, task)
    assert [line["id"] for line in lines] == [name for name, _ in expected]
    if task == "ner":
        assert [spans(gold(line)) for line in lines] == [spans(items) for _, items in expected]
    else:
        assert [gold(line)[0]["label"] for line in lines] == [
            relation["label"] for _, relation in expected
        ]
    section = metrics(folder)["test"]
    assert section["test/f1"] == pytest.approx(score(lines), abs=1e-7)
    assert section["test/f1"] > 0, "a model that finds nothing shows nothing"
    assert section["checkpoint"] == str(folder / "best.ckpt")
    assert f"{100 * section['test/f1']:.2f}" in outcome.out
    assert {name: (folder / name).read_bytes() for name in kept} == kept
    assert metrics(folder)["fit"] == metrics(runs / task)["fit"]


def test_the_config_of_the_run_is_enough(run_dir, demo_root):
    succeed("test", *options(demo_root, run_dir))
    tested, lines = metrics(run_dir)["test"], (run_dir / "predictions.jsonl").read_bytes()
    (run_dir / "predictions.jsonl").unlink()
    config = f"--config={run_dir / 'config.yaml'}"
    succeed("test", config, f"--run_dir={run_dir}")
    assert metrics(run_dir)["test"] == tested
    assert (run_dir / "predictions.jsonl").read_bytes() == lines


def test_predict_writes_what_test_writes_and_leaves_the_scores(run_dir, demo_root):
    succeed("test", *options(demo_root, run_dir))
    known, lines = metrics(run_dir), (run_dir / "predictions.jsonl").read_bytes()
    (run_dir / "predictions.jsonl").unlink()
    outcome = succeed("predict", *options(demo_root, run_dir))
    assert (run_dir / "predictions.jsonl").read_bytes() == lines
    assert metrics(run_dir) == known
    assert "predictions.jsonl" in outcome.out


def test_predictions_name_words_and_pictures(run_dir, demo_root):
    succeed("predict", *options(demo_root, run_dir), "--data.pictures=right")
    for line, post in zip(predictions(run_dir), read_jsonl(demo_root / "test.jsonl"), strict=True):
        assert line["words"] == post["words"]
        assert line["image"] == str(demo_root / post["image"])
        for entity in (*gold(line), *predicted(line)):
            words = post["words"][entity["start"] : entity["end"]]
            assert entity["text"] == " ".join(words)


def test_validate_repeats_the_best_epoch(run_dir, demo_root):
    outcome = succeed("validate", *options(demo_root, run_dir))
    sections = metrics(run_dir)
    best = sections["fit"]["best"]
    scores = {
        name: value for name, value in sections["validate"].items() if name.startswith("val/")
    }
    assert scores == pytest.approx(
        {name: best[name] for name in best if name.startswith("val/")}, abs=1e-6
    )
    assert scores["val/f1"] == best["val/f1"]
    assert f"{100 * best['val/f1']:.2f}" in outcome.out
    assert "test" not in sections


def test_a_fit_with_the_saved_config_gives_the_same(runs, demo_root, tmp_path):
    config = f"--config={runs / 'ner' / 'config.yaml'}"
    succeed("fit", config, f"--run_dir={tmp_path / 'again'}")
    again = metrics(tmp_path / "again")["fit"]
    assert without_times(again["epochs"]) == without_times(metrics(runs / "ner")["fit"]["epochs"])
    weights = [
        torch.load(folder / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (runs / "ner", tmp_path / "again")
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_another_seed_gives_something_else(runs, demo_root, tmp_path):
    config = f"--config={runs / 'ner' / 'config.yaml'}"
    succeed(
        "fit",
        config,
        f"--run_dir={tmp_path / 'again'}",
        "--seed_everything=7",
        "--trainer.max_epochs=1",
    )
    other = metrics(tmp_path / "again")["fit"]["epochs"][0]
    assert other["train/loss"] != metrics(runs / "ner")["fit"]["epochs"][0]["train/loss"]


def test_a_used_folder_is_refused(run_dir, demo_root):
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    outcome = run("fit", *options(demo_root, run_dir))
    assert outcome.status != 0
    assert outcome.err.count("\n") == 1
    for part in (str(run_dir), "--run_dir", "--ckpt_path", "--overwrite true"):
        assert part in outcome.err
    assert {path.name: path.read_bytes() for path in run_dir.iterdir()} == before


def test_overwrite_leaves_nothing_of_the_old_run(run_dir, demo_root):
    succeed("test", *options(demo_root, run_dir))
    old = (run_dir / "last.ckpt").read_bytes()
    succeed("fit", *options(demo_root, run_dir), "--overwrite=true", "--seed_everything=5")
    assert list(metrics(run_dir)) == ["fit"]
    assert [epoch["epoch"] for epoch in metrics(run_dir)["fit"]["epochs"]] == [0]
    assert not (run_dir / "predictions.jsonl").exists()
    assert {row["epoch"] for row in rows(run_dir)} == {"0"}
    assert (run_dir / "last.ckpt").read_bytes() != old
    config = f"--config={run_dir / 'config.yaml'}"
    assert run("fit", config).status != 0, "the saved configuration must not overwrite the run"


def test_a_wrong_setting_does_not_cost_the_old_run(run_dir, demo_root):
    before = {path.name: path.read_bytes() for path in run_dir.iterdir()}
    assert (
        run(
            "fit", *options(demo_root, run_dir), "--overwrite=true", "--data.max_tokens=4096"
        ).status
        != 0
    )
    assert {path.name: path.read_bytes() for path in run_dir.iterdir()} == before


@pytest.mark.parametrize("name", ["last", "path"])
def test_a_fit_goes_on_where_it_stopped(run_dir, demo_root, name):
    known = metrics(run_dir)["fit"]["epochs"]
    succeed("test", *options(demo_root, run_dir))
    checkpoint = "last" if name == "last" else run_dir / "last.ckpt"
    longer = f"--trainer.max_epochs={EPOCHS + 2}"
    succeed("fit", *options(demo_root, run_dir), f"--ckpt_path={checkpoint}", longer)
    epochs = metrics(run_dir)["fit"]["epochs"]
    assert epochs[:EPOCHS] == known
    assert [epoch["epoch"] for epoch in epochs] == list(range(EPOCHS + 2))
    assert [row["epoch"] for row in rows(run_dir) if row["val/f1"]] == [
        str(number) for number in range(EPOCHS + 2)
    ]
    assert list(metrics(run_dir)) == ["fit"], "scores of the old best checkpoint hold no longer"
    best = torch.load(run_dir / "best.ckpt", weights_only=True)
    assert best["epoch"] == metrics(run_dir)["fit"]["best"]["epoch"]
    assert yaml.safe_load((run_dir / "config.yaml").read_text())["ckpt_path"] is None


def test_a_fit_goes_back_to_the_best(run_dir, demo_root):
    best = metrics(run_dir)["fit"]["best"]["epoch"]
    succeed(
        "fit", *options(demo_root, run_dir), "--ckpt_path=best", f"--trainer.max_epochs={best + 2}"
    )
    epochs = [epoch["epoch"] for epoch in metrics(run_dir)["fit"]["epochs"]]
    assert epochs == list(range(best + 2))
    assert [row["epoch"] for row in rows(run_dir) if row["val/f1"]] == [
        str(epoch) for epoch in epochs
    ]


def test_a_checkpoint_from_elsewhere_does_not_open_a_used_folder(runs, run_dir, demo_root):
    outcome = run("fit", *options(demo_root, run_dir), f"--ckpt_path={runs / 'ner' / 'last.ckpt'}")
    assert outcome.status != 0
    assert "holds a run already" in outcome.err


def test_a_fault_in_training_keeps_its_traceback_and_the_epochs_before(demo_root, tmp_path):
    fault = ["--trainer.callbacks=helpers.command.StopInSecondEpoch", "--trainer.max_epochs=3"]
    with pytest.raises(RuntimeError, match="a fault in the second epoch"):
        run("fit", *options(demo_root, tmp_path / "run"), *fault)
    assert [epoch["epoch"] for epoch in metrics(tmp_path / "run")["fit"]["epochs"]] == [0]
    go_on = ["--ckpt_path=last", "--trainer.max_epochs=2"]
    succeed("fit", *options(demo_root, tmp_path / "run"), *go_on)
    assert [epoch["epoch"] for epoch in metrics(tmp_path / "run")["fit"]["epochs"]] == [0, 1]


def test_epochs_without_validation_are_recorded(demo_root, tmp_path):
    rare = ["--trainer.max_epochs=2", "--trainer.check_val_every_n_epoch=2"]
    succeed("fit", *options(demo_root, tmp_path / "run"), *rare)
    fit = metrics(tmp_path / "run")["fit"]
    assert ["val/f1" in epoch for epoch in fit["epochs"]] == [False, True]
    assert fit["best"]["epoch"] == 1


def test_a_fast_dev_run_leaves_nothing(demo_root, tmp_path):
    succeed("fit", *options(demo_root, tmp_path / "run"), "--trainer.fast_dev_run=true")
    assert not (tmp_path / "run").exists() or not list((tmp_path / "run").iterdir())


def test_a_test_in_a_folder_of_its_own(runs, demo_root, tmp_path):
    checkpoint = runs / "ner" / "last.ckpt"
    succeed("test", *options(demo_root, tmp_path / "elsewhere"), f"--ckpt_path={checkpoint}")
    assert {path.name for path in (tmp_path / "elsewhere").iterdir()} == {
        "config.yaml",
        "metrics.json",
        "predictions.jsonl",
    }
    assert metrics(tmp_path / "elsewhere")["test"]["checkpoint"] == str(checkpoint)
