"""Names in the run folder, and whether one is free for a fit."""

import pytest

from mmie.runs.folder import (
    LAST,
    RunFolderError,
    best_checkpoint,
    check_free,
    clear_run,
    find_checkpoint,
    find_config,
    lies_in,
    own_checkpoint,
    prediction_files,
    run_folder_of,
)


@pytest.fixture
def run_dir(tmp_path):
    """Run folder of a fit and of tests, with empty files and a file half written."""
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (
        "config.yaml",
        "metrics.json",
        "metrics.csv",
        "best.ckpt",
        "last.ckpt",
        "wandb_id.txt",
        "predictions_none.jsonl",
        "predictions.jsonl",
        ".0123.partial.ckpt",
    ):
        (folder / name).touch()
    return folder


def names(folder):
    """Return the names in a folder."""
    return {path.name for path in folder.iterdir()}


def test_a_folder_without_a_fit_is_free(tmp_path):
    check_free(tmp_path / "absent", overwrite=False)
    (tmp_path / "config.yaml").touch()
    check_free(tmp_path, overwrite=False)


def test_a_folder_with_a_fit_is_free_to_overwrite_or_continue_it(run_dir, tmp_path):
    other = tmp_path / "last.ckpt"
    for checkpoint in (None, str(other)):
        with pytest.raises(RunFolderError, match="holds a run already") as caught:
            check_free(run_dir, overwrite=False, checkpoint=checkpoint)
        assert f"--ckpt_path {run_dir / 'last.ckpt'}" in str(caught.value)
    check_free(run_dir, overwrite=True)
    check_free(run_dir, overwrite=False, checkpoint=str(run_dir / "best.ckpt"))


def test_a_file_is_no_run_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="is a file: name a folder"):
        check_free(tmp_path / "file", overwrite=True)


def test_checkpoints_are_found_by_name(run_dir):
    assert own_checkpoint(run_dir, "last") == str(run_dir / "last.ckpt")
    assert own_checkpoint(run_dir, "best") == str(best_checkpoint(run_dir))


def test_a_missing_checkpoint_is_named_with_the_way_out(tmp_path):
    with pytest.raises(RunFolderError, match=r"last\.ckpt does not exist: .*without --ckpt_path"):
        own_checkpoint(tmp_path, "last")
    with pytest.raises(RunFolderError, match=r"best\.ckpt does not exist: fit first"):
        best_checkpoint(tmp_path)


def test_a_checkpoint_lies_in_the_folder_that_holds_it(run_dir, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert lies_in("run/last.ckpt", run_dir)
    assert lies_in(run_dir / "other" / ".." / "best.ckpt", run_dir)
    assert not lies_in(run_dir / "old" / "last.ckpt", run_dir)
    assert not lies_in(tmp_path / "last.ckpt", run_dir)
    assert not lies_in(None, run_dir)


def test_predictions_of_the_main_test_come_first(run_dir):
    (run_dir / "predictions_a.jsonl").touch()
    assert [file.name for file in prediction_files(run_dir)] == [
        "predictions.jsonl",
        "predictions_a.jsonl",
        "predictions_none.jsonl",
    ]


def test_a_continued_fit_keeps_its_checkpoints(run_dir):
    clear_run(run_dir, continued=True)
    left = {"config.yaml", "metrics.csv", "metrics.json", "best.ckpt", "last.ckpt", "wandb_id.txt"}
    assert names(run_dir) == left


def test_a_new_fit_removes_checkpoints_and_predictions(run_dir):
    (run_dir / "unscored.jsonl").touch()
    (run_dir / "diagnosis.html").touch()
    clear_run(run_dir, continued=False)
    assert names(run_dir) == {"config.yaml", "metrics.csv", "metrics.json"}
    clear_run(run_dir, continued=False)


def test_a_run_folder_stands_for_its_best_checkpoint(run_dir, tmp_path):
    best = run_dir / "best.ckpt"
    assert find_checkpoint(str(run_dir)) == best
    for other in (str(best), run_dir / "last.ckpt", tmp_path, str(tmp_path / "absent"), "a/b"):
        assert find_checkpoint(other) == other
    best.unlink()
    with pytest.raises(
        RunFolderError, match=r"run holds no best\.ckpt: it was removed, or no epoch"
    ):
        find_checkpoint(run_dir)


def test_the_configuration_of_a_run_folder_is_found(run_dir, tmp_path):
    assert find_config(run_dir) == run_dir / "config.yaml"
    for missing in (tmp_path, tmp_path / "absent"):
        with pytest.raises(RunFolderError, match="expected a run folder of mmie fit"):
            find_config(missing)


def test_a_run_folder_is_that_of_its_checkpoint(run_dir):
    assert run_folder_of(run_dir) == run_folder_of(str(run_dir / "best.ckpt")) == run_dir


def test_a_fit_without_validation_is_named(tmp_path):
    (tmp_path / LAST).touch()
    for function in (best_checkpoint, find_checkpoint):
        with pytest.raises(RunFolderError, match=r"no epoch of the fit was validated.*last\.ckpt"):
            function(tmp_path)
