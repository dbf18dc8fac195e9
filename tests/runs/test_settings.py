"""Differences between the settings of two calls."""

from mmie.runs.settings import changed_settings, flatten_settings, setting_differences


def test_settings_are_compared_by_dotted_name():
    config = {
        "run_dir": "a",
        "seed_everything": 1,
        "model": {"class_path": "RAP", "init_args": {"text_lr": 0.1, "units": ["rau"]}},
        "trainer": {"max_epochs": 2, "default_root_dir": "a"},
    }
    old = flatten_settings(config)
    assert old["model.units"] == ["rau"]
    assert setting_differences(old, dict(old)) == {}
    new = {
        **old,
        "run_dir": "b",
        "trainer.default_root_dir": "b",
        "model.text_lr": 0.2,
        "model.units": ["cfu"],
        "model.new": 1,
    }
    del new["trainer.max_epochs"]
    assert setting_differences(old, new) == {
        "model.text_lr": (0.1, 0.2),
        "model.units": (["rau"], ["cfu"]),
    }


def test_a_setting_that_was_edited_renamed_added_or_removed_has_changed():
    recorded = {"run_dir": "a", "seed": 1, "model.text_lr": 0.1, "model.warmup": 0.1}
    assert changed_settings(recorded, {**recorded, "run_dir": "b"}) == []
    edited = {**recorded, "model.text_lr": 0.2}
    assert changed_settings(recorded, edited) == ["model.text_lr"]
    renamed = {**recorded, "model.warmuq": 0.1}
    del renamed["model.warmup"]
    assert changed_settings(recorded, renamed) == ["model.warmup", "model.warmuq"]
