"""Content of the page of a split, compared with literal versions."""

import numpy as np
import pytest
from helpers.methods import instance_without_views

from mmie.reports.diagnosis.diagnosis import diagnose
from mmie.reports.diagnosis.split import split_sections, view_rows


def test_effects_are_averaged_over_the_instances_that_have_a_view(build_target):
    target = build_target("hvpnet")
    instances = [*target.instances[:6], instance_without_views(target.instances[6])]
    diagnoses = diagnose(target, instances)
    rows = view_rows(diagnoses)
    assert [row["name"] for row in rows] == ["picture", "crop 1", "crop 2", "crop 3"]
    for index, row in enumerate(rows):
        having = [diagnosis.values for diagnosis in diagnoses if diagnosis.instance.views[index]]
        support = [values["view_support"][index].item() for values in having]
        change = [values["view_change"][index].item() for values in having]
        assert row["count"] == len(having)
        assert row["support"] == pytest.approx(np.mean(support) if support else 0)
        assert row["helps"] == pytest.approx(np.mean(np.array(support) > 0) if support else 0)
        assert row["change"] == pytest.approx(np.mean(change) if change else 0)


def test_gates_are_summarised_by_layer_view_and_scale(build_target):
    target = build_target("hvpnet")
    diagnoses = diagnose(target, target.instances[:6])
    sections = split_sections(target, diagnoses, [])
    gates = [diagnosis.values["gates"] for diagnosis in diagnoses if diagnosis.instance.views[1]]
    num_layers, _, num_scales = gates[0].shape
    assert [layer["name"] for layer in sections["gates"]] == [
        f"layer {number}" for number in range(1, 1 + num_layers)
    ]
    assert sections["num_scales"] == num_scales == 4
    for layer in range(num_layers):
        for scale in range(num_scales):
            values = [of_instance[layer, 1, scale].item() for of_instance in gates]
            middle = sections["gates"][layer]["views"][1][scale]["middle"]
            assert middle == pytest.approx(np.median(values), abs=1e-6)


def test_attention_is_averaged_over_words_and_instances_with_the_view(build_target):
    target = build_target("hvpnet")
    diagnoses = diagnose(target, target.instances[:6])
    table = split_sections(target, diagnoses, [])["mass"]
    having = [diagnosis for diagnosis in diagnoses if diagnosis.instance.views[1]]
    shares = [diagnosis.values["prefix_mass"][0, :, 1].mean().item() for diagnosis in having]
    _, first_layer = table["rows"][0]
    assert first_layer[1] == pytest.approx(np.mean(shares), abs=1e-6)


def test_similarities_are_split_into_own_and_other_pictures(build_target):
    target = build_target("imm")
    diagnoses = diagnose(target, target.instances[:4])
    (chart,) = split_sections(target, diagnoses, [])["histograms"]
    assert [(series["name"], series["count"]) for series in chart["series"]] == [
        ("its own picture", 4),
        ("other pictures", 12),
    ]


def test_sections_without_values_are_empty(build_target):
    target = build_target("text_only")
    sections = split_sections(target, diagnose(target, target.instances[:2]), [])
    names = ("mass", "gates", "num_scales", "histograms", "paths")
    assert [sections[name] for name in names] == [None, [], 0, [], None]
