"""Runs of a study grouped into points."""

from helpers.run_folders import write_run
from helpers.studies import (
    DGHC,
    write_cross_domain,
    write_cross_task,
    write_low_resource,
)

from mmie.reports.study.points import build_points, corpus_labels, find_reference
from mmie.runs import read_run


def test_runs_that_differ_in_their_seeds_are_one_point(tmp_path):
    points = build_points("low-resource", write_low_resource(tmp_path / "dghc"))
    assert [(point.tested, point.system, point.setting) for point in points] == [
        ("Twitter2015, entities", "DGHC", "25 %"),
        ("Twitter2015, entities", "DGHC", "100 %"),
    ]
    assert [[run.seed for run in point.runs] for point in points] == [[1, 2], [1, 2]]
    assert [point.share for point in points] == [0.25, 1]


def test_configurations_of_one_method_are_told_apart_by_their_folders(tmp_path):
    sources = write_low_resource(tmp_path / "small")
    sources |= write_low_resource(tmp_path / "large")
    sources |= write_low_resource(tmp_path / "imm", "mmie.methods.IMM")
    points = build_points("low-resource", sources)
    names = ["DGHC (small)", "DGHC (large)", "IMM"]
    assert [point.system for point in points] == [name for name in names for _ in range(2)]


def test_settings_of_cross_task_name_the_initial_weights(tmp_path):
    points = build_points("cross-task", write_cross_task(tmp_path))
    assert [(point.tested, point.setting) for point in points] == [
        ("Twitter2017, entities", "own weights"),
        ("Twitter2017, entities", "weights from MNRE"),
        ("MNRE, relations", "own weights"),
        ("MNRE, relations", "weights from Twitter2017"),
    ]


def test_settings_of_cross_domain_name_the_corpus_of_the_training(tmp_path):
    points = build_points("cross-domain", write_cross_domain(tmp_path))
    assert [(point.tested, point.setting) for point in points] == [
        ("Twitter2015, entities", "trained on Twitter2015"),
        ("Twitter2015, entities", "trained on Twitter2017"),
        ("Twitter2017, entities", "trained on Twitter2017"),
        ("Twitter2017, entities", "trained on Twitter2015"),
    ]


def test_references_are_the_largest_share_and_runs_on_their_own(tmp_path):
    small, large = build_points("low-resource", write_low_resource(tmp_path / "low"))
    assert find_reference("low-resource", small, [small, large]) is large
    assert find_reference("low-resource", large, [small, large]) is None
    points = build_points("cross-task", write_cross_task(tmp_path / "cross"))
    references = [find_reference("cross-task", point, points) for point in points]
    assert references == [None, points[0], None, points[2]]


def test_corpora_of_one_class_are_told_apart_by_their_folders(tmp_path):
    runs = []
    for name, root in (("a", "x/one"), ("b", "x/two")):
        runs.append(read_run(write_run(tmp_path / name, root=root, method=DGHC)))
    labels = corpus_labels(runs)
    assert list(labels.values()) == ["Twitter2017 one", "Twitter2017 two"]
    runs.append(read_run(write_run(tmp_path / "c", root="y/one", method=DGHC)))
    assert list(corpus_labels(runs).values()) == [
        "Twitter2017 x/one",
        "Twitter2017 x/two",
        "Twitter2017 y/one",
    ]
    assert list(corpus_labels(runs[:1]).values()) == ["Twitter2017"]
