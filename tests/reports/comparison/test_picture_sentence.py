"""Sentences about the picture test state the scores, and a conclusion where the bound is known."""

import pytest
from helpers.comparison import groups_of
from helpers.run_folders import change_metrics, write_run

from mmie.reports.comparison.picture_sentence import picture_sentences


def picture_tests(shuffled, none):
    """Sections of tests with other pictures."""
    sections = {"test_shuffled": shuffled, "test_none": none}
    return {name: {"test/f1": f1} for name, f1 in sections.items() if f1 is not None}


def sentences_of(*folders):
    """Return the sentences about runs on one corpus and task."""
    (group,) = groups_of(*folders)
    return picture_sentences(group)


def test_a_demo_corpus_allows_a_conclusion(tmp_path, demo_root):
    demo = {"corpus": "mmie.data.DemoCorpus", "root": demo_root, "lines": None}
    rap = write_run(tmp_path / "rap", f1=0.9646, sections=picture_tests(0.455, 0.4537), **demo)
    blind = write_run(
        tmp_path / "blind", f1=0.42, sections=picture_tests(0.41, 0.4), method="a.Blind", **demo
    )
    text_only = write_run(tmp_path / "text", f1=0.47, method="mmie.methods.TextOnly", **demo)
    bound, *sentences = sentences_of(rap, blind, text_only)
    assert bound == ("The text alone allows an F1 of at most 43.75 on the entities of DemoCorpus.")
    assert sentences == [
        "Blind reaches 42.00 with the right pictures, 41.00 with the pictures of other posts and "
        "40.00 without pictures: it does not exceed what the text alone allows.",
        "RAP reaches 96.46 with the right pictures, 45.50 with the pictures of other posts and "
        "45.37 without pictures: it uses the pictures.",
    ]


def test_without_a_bound_no_conclusion_is_drawn(tmp_path):
    seeds = []
    for seed, f1 in ((1, 0.5), (2, 0.7)):
        sections = picture_tests(f1 - 0.1, None)
        seeds.append(write_run(tmp_path / str(seed), f1=f1, sections=sections, seed=seed))
    assert sentences_of(*seeds) == [
        "RAP reaches 60.00 with the right pictures, 50.00 with the pictures of other posts."
    ]


@pytest.mark.parametrize("pictures", ["right", "none"])
def test_runs_without_both_kinds_of_test_are_left_out(tmp_path, pictures):
    run = write_run(tmp_path / "run")
    test = {"test/f1": 0.5, "test/precision": 0.5, "test/recall": 0.5, "pictures": pictures}
    change_metrics(run, test=test)
    assert sentences_of(run) == []
