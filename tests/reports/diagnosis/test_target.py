"""The method and the split of a diagnosis."""

import json
import re
import shutil

import pytest

from mmie.data import JsonlCorpus
from mmie.methods import RAP, TextOnly
from mmie.reports.diagnosis.target import (
    DiagnosisError,
    check_unprompted,
    find_post,
    load_target,
    read_data_settings,
)


def test_an_unknown_post_is_an_error_that_names_similar_ids(build_target):
    target = build_target("text_only")
    known = target.instances[3].post.id
    assert [instance.post.id for instance in find_post(target, known)] == [known]
    with pytest.raises(DiagnosisError, match=re.escape(known)):
        find_post(target, f"{known}x")
    with pytest.raises(DiagnosisError, match=re.escape(target.instances[0].post.id)):
        find_post(target, "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~")


def test_settings_are_those_of_the_run_or_of_a_named_file(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("data: {task: ner}")
    assert read_data_settings(tmp_path / "best.ckpt") == {"task": "ner"}
    assert read_data_settings(tmp_path / "none" / "best.ckpt", config) == {"task": "ner"}
    for text in ("model: 1", "", "data: [", "data: null", "data: a"):
        config.write_text(text)
        with pytest.raises(DiagnosisError, match=r"config.yaml.*--config"):
            read_data_settings(tmp_path / "best.ckpt")


def test_a_target_is_read_as_its_checkpoint_was_trained(save_checkpoint, demo_root):
    checkpoint = save_checkpoint(TextOnly, "ner")
    settings = {"pictures": "none", "batch_size": 1, "seed": 5}
    target = load_target(checkpoint, JsonlCorpus(demo_root), settings, "valid")
    assert isinstance(target.module, TextOnly)
    assert (target.checkpoint, target.split) == (checkpoint, "valid")
    assert target.data.schema == target.module.schema
    assert target.data.seed == 5
    assert len(target.instances) == 16
    assert all(view is None for view in target.instances[0].views)


def test_contexts_are_read_from_the_corpus_or_a_named_file(save_checkpoint, demo_root, tmp_path):
    checkpoint = save_checkpoint(TextOnly, "ner")
    corpus = JsonlCorpus(shutil.copytree(demo_root, tmp_path / "demo"))
    post_id = corpus.posts("test")[0].id
    own, private = corpus.root / "{split}.json", tmp_path / "private_{split}.json"
    (corpus.root / "test.json").write_text(json.dumps({post_id: "own"}))
    (tmp_path / "private_test.json").write_text(json.dumps({post_id: "private"}))

    def context(settings, context_file=None):
        settings = {"use_context": True, **settings}
        target = load_target(checkpoint, corpus, settings, context_file=context_file)
        return target.instances[0].post.context, target.notes

    assert context({"context_file": str(own)}) == ("own", ())
    assert context({"context_file": None}) == (None, ())
    assert context({"context_file": str(own)}, str(private)) == ("private", ())
    assert context({"context_file": 3}, str(private)) == ("private", ())
    for left_out in (
        str(private),
        f"{corpus.root}/../private_{{split}}.json",
        ["private.json"],
        "",
    ):
        read, (note,) = context({"context_file": left_out})
        assert read is None
        assert f"is left out, because it lies outside of {corpus.root}." in note
        assert "private" not in note.replace(str(tmp_path), "")


def test_units_are_those_of_a_fusion_layer(build_target):
    target = build_target("rap")
    assert isinstance(target.module, RAP)
    assert target.units == [type(unit).__name__ for unit in target.module.fusion.layers[0]]


def test_runs_with_and_without_prompting_are_told_apart(build_target):
    prompted, unprompted = build_target("rap"), build_target("rap", prompting=False)
    check_unprompted(prompted, unprompted)
    with pytest.raises(DiagnosisError, match=r"--unprompted .*expected a run with prompting: fal"):
        check_unprompted(prompted, prompted)
    with pytest.raises(DiagnosisError, match=r"--checkpoint .*expected a run with prompting: true"):
        check_unprompted(unprompted, unprompted)
    with pytest.raises(DiagnosisError, match=r"expected a run with prompting: true"):
        check_unprompted(build_target("text_only"), unprompted)
    relations = build_target("rap", "re", prompting=False)
    with pytest.raises(DiagnosisError, match="expected RAP for ner, not RAP for re"):
        check_unprompted(prompted, relations)
