"""Published results, against the tables as the papers print them."""

import re

import pytest

from mmie.data.corpora import editions
from mmie.methods.papers import (
    DGHC,
    EDITIONS,
    HVPNET,
    IMM,
    MLNET,
    RAP,
    RSRNET,
    PublishedScores,
)

TWITTER = ("Twitter2015", "Twitter2017")
CORPORA = (*TWITTER, "MNRE")

RAP_TABLE_4 = """
2 74.35 78.62 76.42 87.42 87.79 87.60 83.49 82.47 82.97
3 74.37 78.67 76.46 87.55 87.84 87.69 83.59 82.67 83.13
4 74.38 78.92 76.58 87.63 87.89 87.76 83.57 82.23 82.89
5 74.37 78.82 76.53 87.65 87.86 87.75 83.60 81.55 82.56
6 74.40 78.79 76.53 87.62 87.84 87.73 83.55 81.55 82.54
"""
RAP_TABLE_5 = """
Methods      MRR          RAU          FSRU         CFU          ALL
Twitter-2015 74.56(-2.02) 75.66(-0.92) 75.15(-1.43) 72.47(-4.11) 76.58
Twitter-2017 83.83(-3.93) 86.68(-1.08) 85.23(-2.53) 84.55(-2.21) 87.76
MRE          81.45(-1.68) 81.97(-1.16) 78.81(-4.32) 75.62(-7.51) 83.13
"""
RAP_TABLE_6 = """
gamma       0     0.5   1     1.5   2     2.5   3
Twitter2014 75.98 76.27 76.45 76.58 76.52 76.44 76.48
Twitter2015 87.45 87.78 87.81 87.76 87.79 87.58 87.48
MRE         82.71 82.68 82.74 83.13 82.87 82.89 82.63
"""
"""The paper names the rows so. Table 3 says which corpora they are."""
MLNET_TABLE_3 = """
w/o Fus.  74.44 73.07 73.75 85.10 84.51 84.80
w/o Mtla. 74.73 73.72 74.22 85.97 85.62 85.79
"""
DGHC_TABLE_5 = """
w/o RE Score     72.45 73.89 73.17 84.97 87.05 86.00
w/o Gating       73.16 73.85 73.50 87.14 85.79 86.46
w/o Augmentation 72.71 74.64 73.66 86.70 87.79 87.24
"""
RSRNET_ABLATION_STUDY = """
woRoB    -    -    1.04
woXlm    0.57 0.67 -
woRSt    1.11 1.14 1.68
plain    1.36 1.57 1.87
1T3      1.29 1.40 1.72
"""
"""Decreases of F1 that the text of the section states, from 76.48, 87.90 and 83.89."""


def table_rows(text):
    """Return the cells of each row of a table."""
    return [line.split() for line in text.strip().splitlines()]


def ablation(paper, name):
    """Return the row of an ablation table by its name."""
    return next(row for row in paper.ablations if row.name == name)


def check_scores(row, corpora, numbers):
    """Check that a row has precision, recall and F1 of each corpus as printed."""
    assert list(row.scores) == list(corpora)
    for index, corpus in enumerate(corpora):
        printed = [float(number) for number in numbers[3 * index : 3 * index + 3]]
        assert row.scores[corpus] == PublishedScores(*printed)


@pytest.mark.parametrize("cells", table_rows(RAP_TABLE_4), ids=lambda cells: cells[0])
def test_routing_layers_are_those_of_raps_table_4(cells):
    check_scores(ablation(RAP, f"L = {cells[0]}"), CORPORA, cells[1:])


def test_units_are_those_of_raps_table_5():
    (_, *names, _), *rows = table_rows(RAP_TABLE_5)
    for (_, *cells), corpus in zip(rows, CORPORA, strict=True):
        for name, cell in zip([*names, "ALL"], cells, strict=True):
            printed = float(re.match(r"[\d.]+", cell)[0])
            if name == "ALL":
                assert RAP.score(corpus).f1 == printed
            else:
                assert ablation(RAP, f"w/o {name}").scores[corpus].f1 == printed


def test_path_weights_are_those_of_raps_table_6():
    (_, *weights), *rows = table_rows(RAP_TABLE_6)
    for (_, *cells), corpus in zip(rows, CORPORA, strict=True):
        for weight, cell in zip(weights, cells, strict=True):
            row = ablation(RAP, f"gamma = {weight}")
            assert row.settings == {"model.path_weight": float(weight)}
            assert row.scores[corpus].f1 == float(cell)


@pytest.mark.parametrize(("paper", "text"), [(MLNET, MLNET_TABLE_3), (DGHC, DGHC_TABLE_5)])
def test_switches_are_those_of_the_ablation_table(paper, text):
    rows = table_rows(text)
    assert len(rows) == len(paper.ablations)
    for *name, p1, r1, f1, p2, r2, f2 in rows:
        check_scores(ablation(paper, " ".join(name)), TWITTER, (p1, r1, f1, p2, r2, f2))


def test_rsrnets_ablations_are_the_full_scores_less_the_stated_differences():
    rows = table_rows(RSRNET_ABLATION_STUDY)
    assert len(rows) == len(RSRNET.ablations)
    for name, *decreases in rows:
        expected = {}
        for corpus, decrease in zip(CORPORA, decreases, strict=True):
            if decrease != "-":
                expected[corpus] = round(RSRNET.score(corpus).f1 - float(decrease), 2)
        found = {corpus: scores.f1 for corpus, scores in ablation(RSRNET, name).scores.items()}
        assert found == expected


def test_score_is_that_of_training_and_testing_on_one_corpus():
    assert HVPNET.score("MNRE") == PublishedScores(83.64, 80.78, 81.85)
    assert DGHC.score("Twitter2017") == PublishedScores(87.06, 87.64, 87.35)
    assert DGHC.score("MNRE") is None
    assert IMM.score("MNRE").f1 == 83.01
    assert MLNET.score("Twitter2015") == PublishedScores(75.73, 76.85, 76.28)
    assert RAP.score("Twitter2015") == PublishedScores(74.38, 78.92, 76.58)


def test_setting_names_other_corpora():
    settings = [row.setting for row in DGHC.published]
    assert settings == ["", "", "trained on Twitter2015", "trained on Twitter2017"]
    assert IMM.published[3].setting == "weights from Twitter2017"


def test_task_is_that_of_the_corpus():
    assert [row.task for row in IMM.published] == ["ner", "ner", "re", "re", "ner"]


def test_editions_are_those_that_a_corpus_may_be():
    known = {editions.TWITTER_2015, editions.TWITTER_2015_EDITED}
    assert set(EDITIONS["Twitter2015"]) == known
    assert EDITIONS["Twitter2017"] == (editions.TWITTER_2017,)
    assert EDITIONS["MNRE"] == (editions.MNRE_2,)
    assert HVPNET.editions == {"Twitter2015": (editions.TWITTER_2015_EDITED,)}
