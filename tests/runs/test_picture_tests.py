"""Tests with other pictures, which leave the main test as it is."""

from types import SimpleNamespace

import pytest
from helpers.command import metrics, predictions, read_jsonl, succeed, tiny_options

from mmie.runs.picture_tests import join_shuffled_tests, picture_suffix, predictions_file

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tested(demo_root, tmp_path_factory):
    """Run of a method that uses images, tested with right, shuffled (two seeds) and no pictures.

    It has the run folder, section and predictions of the main test right after it, and the result
    of the last command.
    """
    run_dir = tmp_path_factory.mktemp("runs") / "hvpnet"
    succeed("fit", *tiny_options("hvpnet", demo_root, run_dir))
    options = [f"--config={run_dir / 'config.yaml'}", f"--run_dir={run_dir}"]
    succeed("test", *options)
    section = metrics(run_dir)["test"]
    lines = (run_dir / "predictions.jsonl").read_bytes()
    succeed("test", *options, "--data.pictures=shuffled")
    succeed("test", *options, "--data.pictures=shuffled", "--seed_everything=7")
    outcome = succeed("test", *options, "--data.pictures=none")
    return SimpleNamespace(run_dir=run_dir, section=section, lines=lines, outcome=outcome)


def read_images(run_dir, pictures):
    """Read the images in the predictions of a test with other pictures."""
    return [line["image"] for line in read_jsonl(run_dir / f"predictions_{pictures}.jsonl")]


def test_the_main_test_is_unchanged(tested):
    assert metrics(tested.run_dir)["test"] == tested.section
    assert tested.section["pictures"] == "right"
    assert (tested.run_dir / "predictions.jsonl").read_bytes() == tested.lines


def test_shuffled_tests_are_averaged_over_their_seeds(tested):
    section = metrics(tested.run_dir)["test_shuffled"]
    assert [run["seed"] for run in section["runs"]] == [1234, 7]
    for name in ("test/f1", "test/f1/PER"):
        assert section[name] == pytest.approx(sum(run[name] for run in section["runs"]) / 2)


def test_every_test_writes_its_own_predictions(tested):
    run_dir = tested.run_dir
    assert set(read_images(run_dir, "none")) == {None}
    shuffled = read_images(run_dir, "shuffled")
    right = [line["image"] for line in predictions(run_dir)]
    assert shuffled != right
    assert sorted(shuffled) == sorted(right)
    assert str(run_dir / "predictions_none.jsonl") in tested.outcome.out
    assert "test without pictures" in tested.outcome.out


def test_a_new_fit_removes_all_tests(demo_root, tmp_path):
    run_dir = tmp_path / "run"
    options = tiny_options("text_only", demo_root, run_dir)
    succeed("fit", *options, "--data.pictures=right")
    for pictures in ("right", "none"):
        succeed("test", f"--config={run_dir / 'config.yaml'}", f"--data.pictures={pictures}")
    assert (run_dir / "predictions_none.jsonl").exists()
    succeed("fit", *options, "--overwrite=true")
    assert set(metrics(run_dir)) == {"checkpoints", "fit", "run", "settings", "sha256"}
    assert not list(run_dir.glob("predictions*"))


def test_the_main_test_has_the_right_pictures_or_those_of_the_training(tmp_path):
    (tmp_path / "config.yaml").write_text("data:\n  pictures: none\n")
    suffixes = {name: picture_suffix(tmp_path, name) for name in ("right", "shuffled", "none")}
    assert suffixes == {"right": "", "shuffled": "_shuffled", "none": ""}
    assert picture_suffix(tmp_path / "empty", "none") == "_none"


@pytest.mark.parametrize("config", ["{}", "data:", "data: {}", "data: {pictures: null}"])
def test_a_configuration_may_name_no_pictures(tmp_path, config):
    (tmp_path / "config.yaml").write_text(config)
    assert picture_suffix(tmp_path, "none") == "_none"
    assert picture_suffix(tmp_path, "right") == ""


def test_predictions_are_named_by_the_suffix(tmp_path):
    assert predictions_file(tmp_path, "") == tmp_path / "predictions.jsonl"
    assert predictions_file(tmp_path, "_none") == tmp_path / "predictions_none.jsonl"


def shuffled_test(f1, checkpoint, seed):
    """Return the outcome of a test with shuffled pictures."""
    return {"test/f1": f1, "checkpoint": checkpoint, "seed": seed, "pictures": "shuffled"}


def test_tests_of_another_checkpoint_or_the_same_seed_are_dropped():
    first = join_shuffled_tests({}, shuffled_test(0.5, "a", 1))
    repeated = join_shuffled_tests(first, shuffled_test(0.25, "a", 1))
    assert (repeated["test/f1"], len(repeated["runs"])) == (0.25, 1)
    other = join_shuffled_tests(repeated, shuffled_test(0.75, "b", 2))
    assert (other["test/f1"], len(other["runs"])) == (0.75, 1)


def test_a_test_of_a_part_of_the_split_enters_no_mean():
    checkpoint = {"checkpoint": "best.ckpt", "instances": 48}
    whole = {"test/f1": 0.5, "seed": 1, "count": 48, **checkpoint}
    partial = {"test/f1": 1.0, "seed": 2, "count": 16, **checkpoint}
    joined = join_shuffled_tests(join_shuffled_tests({}, whole), partial)
    assert (joined["test/f1"], joined["count"]) == (0.5, 48)
    assert [run["seed"] for run in joined["runs"]] == [1, 2]
    joined = join_shuffled_tests(join_shuffled_tests({}, partial), {**partial, "seed": 3})
    assert (joined["test/f1"], joined["count"]) == (1.0, 16)
    assert join_shuffled_tests(joined, whole)["test/f1"] == 0.5
