"""Facts that tell which runs belong together."""

from mmie.runs.facts import belong_together, changed_splits


def test_tests_of_another_checkpoint_or_split_do_not_belong_together():
    test = {"checkpoint_sha256": "a", "split_sha256": "b"}
    assert belong_together(test, dict(test))
    assert not belong_together(test, {**test, "checkpoint_sha256": "c"})
    assert not belong_together(test, {**test, "split_sha256": "c"})
    assert belong_together(test, {"checkpoint_sha256": None})
    assert belong_together({}, test)


def test_only_recorded_splits_can_have_changed():
    recorded = {"train": "a", "test": "b"}
    assert changed_splits(recorded, {"train": "a", "valid": "x", "test": "b"}, ["valid"]) == []
    assert changed_splits(recorded, {"train": "c", "test": "d"}, ["train", "test"]) == [
        "train",
        "test",
    ]
    assert changed_splits(recorded, {"train": "c", "test": "d"}, ["test"]) == ["test"]
    assert changed_splits(recorded, {}, ["test"]) == ["test"]
    assert changed_splits({}, {"test": "d"}, ["test"]) == []
