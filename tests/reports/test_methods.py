"""Methods with their papers, switches and published scores."""

import json
import subprocess
import sys

import pytest
from helpers.paths import CONFIGS
from helpers.run_folders import change_metrics, write_run

from mmie.data.corpora.editions import MNRE_1, MNRE_2
from mmie.methods import papers
from mmie.methods.papers import CORPORA, Paper, Published, PublishedScores
from mmie.reports.methods import (
    MethodError,
    find_method_info,
    find_paper,
    package_methods,
    published_result,
)
from mmie.runs import read_run

MLNET = {"fusion_layers": 12}
"""Argument of MLNet with fusion in all layers."""
PAPERS = {name: value for name, value in vars(papers).items() if isinstance(value, Paper)}


def test_methods_of_the_package_are_listed_by_year():
    assert len(package_methods()) == 8
    code = (
        "import sys; from mmie.reports.methods import listed_methods;"
        "years = [method.cited.year for method in listed_methods()];"
        "print(years == sorted(years), 'torch' in sys.modules)"
    )
    outcome = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert outcome.stdout.split() == ["True", "False"]


@pytest.mark.parametrize(
    "name",
    [
        "nope",
        "os.path",
        "os.nope",
        "nowhere.Nope",
        "mmie.methods.MultimodalModule",
        ".",
        ".relative.Name",
        "..Name",
    ],
)
def test_a_name_that_no_method_has_is_an_error(name):
    with pytest.raises(
        MethodError, match=r"expected one of .*HVPNet.*, or the full path of a class"
    ):
        find_method_info(name)


@pytest.mark.parametrize("paper", PAPERS.values(), ids=PAPERS)
def test_published_numbers_are_plausible(paper):
    """F1 is the harmonic mean of precision and recall, save in HVPNet's row for MNRE."""
    for row in paper.published:
        assert row.task in paper.tasks
        values = [row.scores.f1, *row.by_type.values(), row.scores.precision, row.scores.recall]
        assert all(30 < value < 100 for value in values if value is not None)
        if row.scores.precision is not None:
            mean = (
                2
                * row.scores.precision
                * row.scores.recall
                / (row.scores.precision + row.scores.recall)
            )
            allowed = 0.4 if paper is papers.HVPNET and row.corpus == "MNRE" else 0.1
            assert abs(mean - row.scores.f1) < allowed, (row, mean)
    assert {row.corpus for row in paper.published} <= set(CORPORA)
    assert {row.task for row in paper.published} == set(paper.tasks)
    for row in paper.ablations:
        assert set(row.scores) <= set(CORPORA)
        for corpus, scores in row.scores.items():
            assert abs(paper.score(corpus).f1 - scores.f1) < 8


def test_every_overlay_is_an_ablation_of_a_paper():
    rows = []
    for paper in PAPERS.values():
        rows += [ablation.overlay for ablation in paper.ablations]
    assert sorted(rows) == sorted(file.stem for file in (CONFIGS / "ablations").glob("*.yaml"))


def test_the_setting_of_a_row():
    scores = PublishedScores(1.0, 2.0, 3.0)
    assert Published("MNRE", scores).setting == ""
    assert (
        Published("MNRE", scores, started_from="Twitter2017").setting == "weights from Twitter2017"
    )
    assert (
        Published("Twitter2017", scores, trained_on="Twitter2015").setting
        == "trained on Twitter2015"
    )
    assert papers.DGHC.score("Twitter2017").f1 == 87.35
    assert papers.DGHC.score("MNRE") is None


def test_a_paper_is_found_by_the_path_of_its_class():
    assert find_paper("mmie.methods.HVPNet") is papers.HVPNET
    assert find_paper("elsewhere.Method") is None


def test_published_results_are_for_methods_that_have_a_paper(tmp_path):
    published, remark = published_result(read_run(write_run(tmp_path / "a")))
    assert published.scores.f1 == 87.76
    assert "CFU" in remark
    nothing = (None, "")
    other_corpus = write_run(tmp_path / "b", corpus="mmie.data.JsonlCorpus")
    assert published_result(read_run(other_corpus)) == nothing
    other_method = write_run(tmp_path / "c", method="elsewhere.Own")
    assert published_result(read_run(other_method)) == nothing
    other_weights = write_run(tmp_path / "d", init_from="x.ckpt")
    assert published_result(read_run(other_weights)) == nothing


def test_published_results_are_those_of_the_switches(tmp_path):
    mnre = {"corpus": "mmie.data.MNRE", "task": "re", "num_fusion_layers": 3}
    full = write_run(tmp_path / "full", **mnre)
    assert published_result(read_run(full))[0].scores.f1 == 83.13
    without_cfu = write_run(tmp_path / "cfu", units=["rau", "fsru"], **mnre)
    row, _ = published_result(read_run(without_cfu))
    assert (row.scores.f1, row.setting) == (75.62, "w/o CFU")
    longer = write_run(tmp_path / "longer", prompt_length=32, **mnre)
    assert published_result(read_run(longer)) == (None, "")


def test_published_results_are_those_of_the_edition(tmp_path):
    mnre = {"corpus": "mmie.data.MNRE", "task": "re", "num_fusion_layers": 3}
    folder = write_run(tmp_path / "run", **mnre)
    assert "does not record the edition" in published_result(read_run(folder))[1]
    test = json.loads((folder / "metrics.json").read_text())["test"]
    change_metrics(folder, test={**test, "edition": MNRE_2})
    row, remark = published_result(read_run(folder))
    assert (row.scores.f1, "edition" in remark) == (83.13, False)
    change_metrics(folder, test={**test, "edition": MNRE_1})
    assert published_result(read_run(folder)) == (None, "")


def test_published_results_after_pretraining_need_the_pretraining(tmp_path):
    corpus = {"corpus": "mmie.data.Twitter2015"}
    method, pretraining = "mmie.methods.MLNet", "mmie.methods.MLNetPretraining"
    start = write_run(tmp_path / "start", method=pretraining, **corpus, **MLNET)
    change_metrics(start, test=None)
    alone = write_run(tmp_path / "alone", method=method, **corpus, **MLNET)
    assert published_result(read_run(alone)) == (None, "")
    init_from = str(start / "best.ckpt")
    both = write_run(tmp_path / "both", method=method, init_from=init_from, **corpus, **MLNET)
    assert published_result(read_run(both))[0].scores.f1 == 76.28


def test_published_results_are_for_the_corpus_of_the_training(tmp_path):
    settings = {"method": "mmie.methods.DGHC"}
    trained = write_run(tmp_path / "trained", corpus="mmie.data.Twitter2015", **settings)
    tested = write_run(tmp_path / "tested", corpus="mmie.data.Twitter2017", **settings)
    test = json.loads((tested / "metrics.json").read_text())["test"]
    change_metrics(tested, fit=None, test={**test, "checkpoint": str(trained / "best.ckpt")})
    assert published_result(read_run(tested))[0].scores.f1 == 60.81
    assert published_result(read_run(trained))[0].scores.f1 == 73.93
