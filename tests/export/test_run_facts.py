"""Facts are read from the run folder, and nothing of another checkpoint is."""

import pytest
import yaml

from mmie.export.run_facts import RunFacts, read_facts


def test_facts_of_a_tested_checkpoint(run_folder):
    assert read_facts(run_folder / "best.ckpt") == RunFacts(
        corpus="Twitter2015",
        seed=7,
        base_model="bert-base-uncased",
        scores={"f1": 0.75, "precision": 0.8, "recall": 0.7},
        validation=0.5,
        other_pictures={"shuffled": 0.25},
    )


def test_scores_of_another_checkpoint_are_left_out(run_folder):
    facts = read_facts(run_folder / "last.ckpt")
    assert (facts.scores, facts.validation, facts.other_pictures) == ({}, None, {"none": 0.125})


def test_missing_and_broken_files_leave_no_facts(run_folder, tmp_path):
    assert read_facts(tmp_path / "nowhere" / "best.ckpt") == RunFacts()
    (run_folder / "metrics.json").write_text("{")
    (run_folder / "config.yaml").write_text("[: {")
    assert read_facts(run_folder / "best.ckpt") == RunFacts()


@pytest.mark.parametrize(
    "source", ["./encoder", "/encoder", "~/encoder", "a/b/c", "demo encoder", {}]
)
def test_a_path_is_no_base_model(run_folder, source):
    config = yaml.safe_load((run_folder / "config.yaml").read_text())
    config["model"]["init_args"]["text_encoder"] = source
    (run_folder / "config.yaml").write_text(yaml.safe_dump(config))
    assert read_facts(run_folder / "best.ckpt").base_model is None
