"""W&B runs that are kept on disk, read back: what a fit, its tests and a comparison leave in them."""

import io
import json
import shutil
import struct
import time
import warnings

import pytest
import wandb
import yaml
from helpers.command import gold, metrics, predictions, read_jsonl, succeed, tiny_options
from PIL import Image
from wandb.proto.wandb_internal_pb2 import Record

from mmie.runs.folder import WANDB_ID
from mmie.training.dashboard import Dashboard
from mmie.training.wandb_logger import (
    WandbSettings,
    build_wandb_logger,
    read_run_id,
    start_run,
    wandb_init,
    wandb_warns,
)

BLOCK = 2**15


@pytest.fixture(autouse=True, scope="module")
def _own_folders(tmp_path_factory):
    """Nothing goes to the user's folders."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DATA", "CACHE", "CONFIG"):
            patch.setenv(f"WANDB_{name}_DIR", str(tmp_path_factory.mktemp(name)))
        yield


@pytest.fixture(scope="module")
def folder(demo_root, tmp_path_factory):
    """A run folder that was fitted, tested, and tested with shuffled pictures; leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    options = [*tiny_options("hvpnet", demo_root, folder), "--wandb.tags=[night]"]
    for command in (["fit"], ["test"], ["test", "--data.pictures=shuffled", "--seed_everything=7"]):
        with warnings.catch_warnings():
            warnings.filterwarnings("error", "W&B")
            succeed(*command, *options)
        assert wandb.run is None
    return folder


def records(file):
    """The records of a run kept on disk: LevelDB's log, in which a record may be cut at the end of a block."""
    content, place, part = file.read_bytes(), 7, b""
    while place + 7 <= len(content):
        if BLOCK - place % BLOCK < 7:
            place += BLOCK - place % BLOCK
            continue
        size, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        if place + 7 + size > len(content):  # still being written
            return
        part += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(part)
            part = b""


def read_back(folder):
    """Records of each W&B run under a folder, by time; W&B writes the last of them shortly after a run has ended."""
    files, deadline = sorted(folder.glob("wandb/offline-run-*/*.wandb")), time.monotonic() + 20
    while True:
        kept = [list(records(file)) for file in files]
        if all(any(record.HasField("exit") for record in one) for one in kept):
            return kept
        assert time.monotonic() < deadline, "a run has no end"
        time.sleep(0.05)


def keyed(items):
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def summary(kept):
    return {name: value for record in kept for name, value in keyed(record.summary.update).items()}


def history(kept):
    return [keyed(record.history.item) for record in kept if record.HasField("history")]


def head(kept):
    return next(record.run for record in kept if record.HasField("run"))


def table(folder, kept, name):
    """Rows of a table that was logged."""
    (path,) = [row[f"{name}.path"] for row in history(kept) if f"{name}.path" in row]
    (file,) = folder.glob(f"wandb/offline-run-*/files/{path}")
    content = json.loads(file.read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def test_a_folder_is_one_wandb_run(folder):
    kept = read_back(folder)
    assert len(kept) == 3
    assert {head(one).run_id for one in kept} == {read_run_id(folder)}
    for one in map(head, kept):
        assert (one.project, one.display_name, one.run_group, one.job_type) == (
            "mmie",
            "mine",
            "JsonlCorpus-ner",
            "HVPNet",
        )
        assert set(one.tags) == {"HVPNet", "night"}


def test_the_configuration_is_the_fits(folder):
    own = yaml.safe_load((folder / "config.yaml").read_text())
    for kept in read_back(folder):
        found = {
            name: value for record in kept for name, value in keyed(record.config.update).items()
        }
        assert found["model"]["class_path"] == "mmie.methods.HVPNet"
        assert (found["data"], found["seed_everything"]) == (own["data"], 1234)


def test_the_fit_leaves_its_course_and_its_best_epoch(folder):
    fit, *tests = read_back(folder)
    (validated,) = [row["val/f1"] for row in history(fit) if "val/f1" in row]
    best = metrics(folder)["fit"]["best"]
    assert validated == pytest.approx(best["val/f1"])
    assert summary(fit)["best/val/f1"] == pytest.approx(best["val/f1"])
    assert summary(fit)["fit/parameters"] == metrics(folder)["fit"]["parameters"]
    for kept in tests:
        assert not [
            name
            for row in history(kept)
            for name in row
            if name.startswith(("val/", "train", "epoch"))
        ]


def test_scores_go_to_the_summary_by_the_pictures(folder):
    _, right, shuffled = read_back(folder)
    known = metrics(folder)
    expected = {name: value for name, value in known["test"].items() if name.startswith("test/")}
    assert expected
    found = summary(right)
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    found = summary(shuffled)
    assert found["test_shuffled/f1"] == pytest.approx(known["test_shuffled"]["test/f1"])
    assert not [name for name in found if name.startswith("test/")]


def test_answers_are_shown_with_their_pictures(folder):
    _, right, shuffled = read_back(folder)
    rows = table(folder, right, "test/predictions")
    lines = predictions(folder)
    assert {row["id"] for row in rows} == {line["id"] for line in lines}
    assert [row["right"] for row in rows] == sorted(row["right"] for row in rows)
    stored = [entry for record in right for entry in record.artifact.manifest.contents]
    pictures = [
        Image.open(entry.local_path) for entry in stored if entry.path.startswith("media/images/")
    ]
    assert len(pictures) == len({line["image"] for line in lines}) > 0
    assert {picture.format for picture in pictures} == {"JPEG"}
    other = table(folder, shuffled, "test_shuffled/predictions")
    assert len(other) == len(read_jsonl(folder / "predictions_shuffled.jsonl"))


def test_the_confusion_matrix_counts_all_gold(folder):
    _, right, _ = read_back(folder)
    cells = table(folder, right, "test/confusion_table")
    num_gold = sum(len(gold(line)) for line in predictions(folder))
    assert sum(cell["nPredictions"] for cell in cells if cell["Actual"] != "nothing") == num_gold


def test_a_fresh_fit_without_wandb_forgets_the_run(folder, demo_root, tmp_path):
    shutil.copytree(folder, tmp_path / "run")
    options = [
        *tiny_options("hvpnet", demo_root, tmp_path / "run"),
        "--trainer.limit_train_batches=1",
    ]
    succeed(
        "fit", *options, f"--ckpt_path={tmp_path / 'run' / 'last.ckpt'}", "--trainer.max_epochs=2"
    )
    assert read_run_id(tmp_path / "run") == read_run_id(folder)
    succeed("fit", *options, "--overwrite=true")
    assert read_run_id(tmp_path / "run") is None


def test_what_wandb_refuses_does_not_stop_a_fit(demo_root, tmp_path):
    options = [
        *tiny_options("text_only", demo_root, tmp_path / "run"),
        "--trainer.limit_train_batches=1",
    ]
    with pytest.warns(
        UserWarning, match=r"W&B does not start, nothing is logged there: .*a/b"
    ) as told:
        succeed("fit", *options, "--wandb.project=a/b")
    assert len([warning for warning in told if "W&B" in str(warning.message)]) == 1
    assert metrics(tmp_path / "run")["fit"]
    assert not (tmp_path / "run" / WANDB_ID).exists()


def test_a_quick_trial_starts_no_wandb_run(demo_root, tmp_path):
    succeed(
        "fit",
        *tiny_options("text_only", demo_root, tmp_path / "run"),
        "--wandb",
        "--trainer.fast_dev_run=true",
    )
    assert not (tmp_path / "run" / "wandb").exists()


def test_without_a_key_an_online_run_stays_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    with pytest.warns(UserWarning, match="stays in .* for `wandb sync`"):
        started = start_run({**wandb_init(WandbSettings(), tmp_path / "run"), "mode": "online"})
    started.finish()
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*"))


def test_a_fault_of_wandb_is_one_warning_line():
    with pytest.warns(UserWarning, match="OSError: no space is left") as told, wandb_warns():
        raise OSError("no space\nis left")
    assert len(told) == 1


def test_answers_that_cannot_be_read_leave_the_scores(folder, tmp_path):
    class Stand:
        """As much of a trainer as the callback asks for."""

        default_root_dir, datamodule, is_global_zero = str(tmp_path), None, True
        loggers = (build_wandb_logger(WandbSettings(), tmp_path, fitting=False),)

    def broken(file):
        raise FileNotFoundError(f"{file} is not there")

    shutil.copy(folder / "metrics.json", tmp_path)
    with pytest.warns(UserWarning, match=r"predictions\.jsonl is not there"):
        Dashboard(broken).on_test_end(Stand(), None)
    Stand.loggers[0].finalize("success")
    (kept,) = read_back(tmp_path)
    assert summary(kept)["test/f1"] == pytest.approx(metrics(folder)["test"]["test/f1"])


def test_a_comparison_is_an_artifact_with_tables(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "other", ignore=shutil.ignore_patterns("wandb", "*.ckpt"))
    config = yaml.safe_load((folder / "config.yaml").read_text())
    config["trainer"]["max_epochs"] = 9
    (tmp_path / "other" / "config.yaml").write_text(yaml.safe_dump(config))
    out = tmp_path / "out"
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "W&B")
        succeed(
            "compare",
            folder,
            tmp_path / "other",
            f"--out={out}",
            "--resamples=20",
            "--wandb.project=mine",
        )
    assert wandb.run is None
    (kept,) = read_back(out)
    assert (head(kept).project, head(kept).job_type, head(kept).display_name) == (
        "mine",
        "comparison",
        "out",
    )
    (artifact,) = [record.artifact for record in kept if record.artifact.type == "comparison"]
    assert {entry.path for entry in artifact.manifest.contents} == {
        "comparison.html",
        "comparison.md",
        "comparison.json",
        "scores.table.json",
        "pairs.table.json",
    }
    scores = table(out, kept, "scores")
    assert len({row["system"] for row in scores}) == 2
    assert [row["f1"] for row in scores] == pytest.approx([metrics(folder)["test"]["test/f1"]] * 2)
    (pair,) = table(out, kept, "pairs")
    assert (pair["difference"], pair["p_holm"]) == (0, 1)


def test_without_wandb_a_comparison_starts_no_run(folder, tmp_path):
    succeed("compare", folder, f"--out={tmp_path / 'out'}", "--resamples=20")
    assert not (tmp_path / "out" / "wandb").exists()
