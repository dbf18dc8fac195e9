"""A test with other pictures must leave the main test as it was."""

import pytest
from helpers.command import metrics, predictions, read_jsonl, succeed, tiny_options

from mmie.runs.picture_tests import join_shuffled_tests, picture_suffix


@pytest.fixture(scope="module")
def tested(demo_root, tmp_path_factory):
    """A run folder of a method that reads pictures, tested with right, shuffled (two seeds) and no pictures."""
    run_dir = tmp_path_factory.mktemp("runs") / "hvpnet"
    succeed("fit", *tiny_options("hvpnet", demo_root, run_dir))
    config = [f"--config={run_dir / 'config.yaml'}", f"--run_dir={run_dir}"]
    succeed("test", *config)
    main = metrics(run_dir)["test"], (run_dir / "predictions.jsonl").read_bytes()
    succeed("test", *config, "--data.pictures=shuffled")
    succeed("test", *config, "--data.pictures=shuffled", "--seed_everything=7")
    outcome = succeed("test", *config, "--data.pictures=none")
    return run_dir, main, outcome


def test_the_main_test_stays_as_it_was(tested):
    run_dir, (section, lines), _ = tested
    assert metrics(run_dir)["test"] == section
    assert section["pictures"] == "right"
    assert (run_dir / "predictions.jsonl").read_bytes() == lines


def test_shuffled_tests_are_averaged_over_their_seeds(tested):
    section = metrics(tested[0])["test_shuffled"]
    assert [run["seed"] for run in section["runs"]] == [1234, 7]
    for name in ("test/f1", "test/f1/PER"):
        assert section[name] == pytest.approx(sum(run[name] for run in section["runs"]) / 2)


def test_every_test_leaves_its_own_predictions(tested):
    run_dir, _, outcome = tested
    assert {line["image"] for line in _lines(run_dir, "none")} == {None}
    shuffled = [line["image"] for line in _lines(run_dir, "shuffled")]
    right = [line["image"] for line in predictions(run_dir)]
    assert shuffled != right
    assert sorted(shuffled) == sorted(right)
    assert str(run_dir / "predictions_none.jsonl") in outcome.out
    assert "test_none" in outcome.out


def test_a_new_fit_clears_all_of_it(tested, demo_root, tmp_path):
    run_dir = tmp_path / "run"
    succeed("fit", *tiny_options("text_only", demo_root, run_dir), "--data.pictures=right")
    for pictures in ("right", "none"):
        succeed("test", f"--config={run_dir / 'config.yaml'}", f"--data.pictures={pictures}")
    assert (run_dir / "predictions_none.jsonl").exists()
    succeed("fit", *tiny_options("text_only", demo_root, run_dir), "--overwrite=true")
    assert list(metrics(run_dir)) == ["fit"]
    assert not list(run_dir.glob("predictions*"))


def test_the_pictures_of_the_training_make_the_main_test(tmp_path):
    (tmp_path / "config.yaml").write_text("data:\n  pictures: none\n")
    assert {name: picture_suffix(tmp_path, name) for name in ("right", "shuffled", "none")} == {
        "right": "",
        "shuffled": "_shuffled",
        "none": "",
    }
    assert picture_suffix(tmp_path / "empty", "none") == "_none"


def test_tests_of_another_checkpoint_are_dropped():
    once = join_shuffled_tests(
        {}, {"test/f1": 0.5, "checkpoint": "a", "seed": 1, "pictures": "shuffled"}
    )
    again = join_shuffled_tests(
        once, {"test/f1": 0.25, "checkpoint": "a", "seed": 1, "pictures": "shuffled"}
    )
    assert (again["test/f1"], len(again["runs"])) == (0.25, 1)
    other = join_shuffled_tests(
        again, {"test/f1": 0.75, "checkpoint": "b", "seed": 2, "pictures": "shuffled"}
    )
    assert (other["test/f1"], len(other["runs"])) == (0.75, 1)


def _lines(run_dir, pictures):
    return read_jsonl(run_dir / f"predictions_{pictures}.jsonl")
