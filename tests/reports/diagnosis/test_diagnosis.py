"""Diagnosis of methods with random weights on the demo corpus."""

from dataclasses import replace

import pytest
import torch
from helpers.methods import make_batch
from torch.nn import functional

from mmie.blocks.clip import ClipVectors
from mmie.reports.diagnosis.diagnosis import (
    diagnose,
    diagnose_post,
    diagnose_split,
    diagnose_unprompted,
    swap_pictures,
)
from mmie.reports.diagnosis.page import render_post
from mmie.reports.diagnosis.target import DiagnosisError


def test_batching_does_not_change_the_values_of_a_post(build_target):
    target = build_target("hvpnet")
    diagnoses = diagnose(target, target.instances)
    assert [diagnosis.instance for diagnosis in diagnoses] == target.instances
    shortest = min(diagnoses, key=lambda diagnosis: len(diagnosis.instance.post.words))
    instance = shortest.instance
    alone = target.module.diagnose(make_batch(target.data, [instance]))
    assert shortest.values.keys() == alone.keys()
    for name, values in shortest.values.items():
        torch.testing.assert_close(values, alone[name][0], rtol=1e-4, atol=1e-5)
    assert shortest.prediction == target.module(make_batch(target.data, [instance]))[0]


def test_a_split_is_sampled_in_its_order(build_target):
    target = build_target("text_only")
    diagnoses, swapped = diagnose_split(target, 5)
    indices = [target.instances.index(diagnosis.instance) for diagnosis in diagnoses]
    assert len(indices) == 5
    assert indices == sorted(indices)
    assert swapped == []
    again, _ = diagnose_split(target, 5)
    assert [diagnosis.instance for diagnosis in again] == [
        diagnosis.instance for diagnosis in diagnoses
    ]
    assert len(diagnose_split(target, 1000)[0]) == len(target.instances)


def test_two_runs_diagnose_the_same_instances(build_target):
    target, unprompted = build_target("rap"), build_target("rap", prompting=False)
    diagnoses, _ = diagnose_split(target, 5)
    others = diagnose_unprompted(target, unprompted, 5)
    for diagnosis, other in zip(diagnoses, others, strict=True):
        assert other.instance.post.id == diagnosis.instance.post.id
        vectors = (diagnosis.values["representation"], other.values["representation"])
        assert vectors[0].shape == vectors[1].shape
        assert not torch.equal(*vectors)
        assert "prompt_mass" not in other.values
    with pytest.raises(DiagnosisError, match="prompting: false"):
        diagnose_unprompted(target, target, 5)


def test_a_post_is_diagnosed_beside_other_posts(build_target):
    target = build_target("imm")
    post = target.instances[3].post
    (diagnosis,) = diagnose_post(target, post.id)
    assert diagnosis.instance.post == post
    assert len(diagnosis.batch_mates) == 8
    assert diagnosis.batch_mates[0] is diagnosis.instance
    with pytest.raises(DiagnosisError, match="no such post"):
        diagnose_post(target, "unknown")


def test_a_post_with_several_relations_has_several_diagnoses(build_target, monkeypatch):
    target = build_target("text_only", "re")
    first = target.instances[0]
    instances = [*target.instances, replace(first, label=0)]
    monkeypatch.setitem(target.data.instances, "test", instances)
    diagnoses = diagnose_post(target, first.post.id)
    assert render_post(target, diagnoses).count("<h2>Relation ") == len(diagnoses) == 2


def test_the_gold_label_is_that_of_the_relation_or_of_the_first_entity(build_target):
    target = build_target("text_only", "re")
    (relation, *_) = diagnose(target, target.instances[:1])
    assert relation.gold == relation.instance.relation.label
    target = build_target("text_only")
    instance = target.instances[0]
    (entity, *_) = diagnose(target, [instance])
    assert entity.gold == instance.post.entities[0].type
    without = replace(instance, post=replace(instance.post, entities=()))
    assert replace(entity, instance=without).gold == ""


def test_swapped_pictures_are_those_of_other_posts(build_target):
    target = build_target("mlnet")
    instances = target.instances
    swapped = swap_pictures(target, instances)
    assert [copy.post.words for copy in swapped] == [instance.post.words for instance in instances]
    for instance, copy in zip(instances, swapped, strict=True):
        assert len(copy.views) == len(instance.views)
        assert copy.views[0] != instance.views[0]
        assert copy.views[0] == copy.post.image
    assert {copy.views[0] for copy in swapped} == {instance.views[0] for instance in instances}


def test_clips_vectors_are_computed_for_a_method_that_uses_them(build_target, tiny_clip):
    target = build_target("imm", clip=str(tiny_clip))
    instances = target.instances[:3]
    diagnoses = diagnose(target, instances)
    clip = ClipVectors(str(tiny_clip), torch.device("cpu"))
    batch = make_batch(target.data, instances)
    texts = clip.texts([" ".join(instance.post.words) for instance in instances])
    pictures = clip.pictures(batch.pixels[:, 0])
    cosines = functional.normalize(texts, dim=-1) @ functional.normalize(pictures, dim=-1).T
    similarity = torch.stack([diagnosis.values["clip_similarity"] for diagnosis in diagnoses])
    torch.testing.assert_close(similarity, cosines.clamp(min=0), rtol=1e-4, atol=1e-5)
    assert "CLIP" in render_post(target, diagnoses[:1])


def test_features_of_a_missing_model_are_left_out(build_target, tmp_path):
    target = build_target("imm", clip=str(tmp_path))
    with pytest.warns(UserWarning, match="left out"):
        diagnoses = diagnose(target, target.instances[:2])
    assert "clip_similarity" not in diagnoses[0].values
    assert "learned_similarity" in diagnoses[0].values
