"""Published results."""

from mmie.methods.papers import DGHC, HVPNET, IMM, PublishedScores


def test_score_is_that_of_training_and_testing_on_one_corpus():
    assert HVPNET.score("MNRE") == PublishedScores(83.64, 80.78, 81.85)
    assert DGHC.score("Twitter2017") == PublishedScores(87.06, 87.64, 87.35)
    assert DGHC.score("MNRE") is None
    assert IMM.score("MNRE").f1 == 83.01


def test_setting_names_other_corpora():
    settings = [row.setting for row in DGHC.published]
    assert settings == ["", "", "trained on Twitter2015", "trained on Twitter2017"]
    assert IMM.published[3].setting == "weights from Twitter2017"


def test_task_is_that_of_the_corpus():
    assert [row.task for row in IMM.published] == ["ner", "ner", "re", "re", "ner"]
