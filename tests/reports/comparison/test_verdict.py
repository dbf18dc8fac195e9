"""Verdicts in sentences."""

from dataclasses import replace

import pytest
from helpers.comparison import summary_of
from helpers.run_folders import write_run

from mmie.reports.comparison.picture_use import PictureLoss
from mmie.reports.comparison.verdict import judge
from mmie.reports.significance import Difference
from mmie.reports.statistics import mean_and_deviation

MINUS = "\N{MINUS SIGN}"
PAIRS = ((1, 1), (2, 2))


@pytest.fixture
def row(tmp_path):
    """Function that returns the row of a system with a name and its F1 scores."""
    (template,) = summary_of(write_run(tmp_path / "run", lines=None)).rows

    def build(name, *f1):
        scores = {**template.scores, "f1": mean_and_deviation(f1)}
        return replace(template, name=name, seeds=tuple(range(len(f1))), scores=scores)

    return build


def difference_of(first, second, difference, p_holm, seeds=PAIRS):
    return Difference(
        first,
        second,
        seeds,
        difference,
        difference - 0.01,
        difference + 0.01,
        p_holm,
        0.001,
        p_holm,
    )


def plain(verdict):
    """Return the sentences with common spaces."""
    return [sentence.replace("\N{NO-BREAK SPACE}", " ") for sentence in verdict.sentences]


def test_a_significant_lead_is_stated_with_its_test(row):
    rows = [row("A", 0.5, 0.52), row("B", 0.6, 0.62), row("C", 0.3, 0.3)]
    differences = [
        difference_of("A", "B", -0.1, 0.004),  # of the leader, second minus first
        difference_of("B", "C", 0.31, 0.003),
        difference_of("A", "C", 0.21, 0.5),
    ]
    verdict = judge(rows, differences, {})
    assert (verdict.leader, verdict.runner_up, verdict.level) == ("B", "A", ())
    assert verdict.lead == pytest.approx(0.1)
    assert verdict.is_significant
    assert verdict.difference.first == "B"
    assert plain(verdict) == [
        "B leads with 61.00 F1 (mean of 2 seeds), 10.00 points ahead of A (51.00).",
        "The difference is significant: p = 0.004 by the bootstrap over posts and seeds, adjusted "
        "for 3 pairs of methods by Holm's method (+10.00 points over 2 pairs of seeds, 95% "
        "interval +9.00 to +11.00).",
        "All other methods are significantly behind B.",
        "Whether B uses the picture was not tested: mmie sweep --test-pictures tests it, and so "
        "does mmie test --data.pictures shuffled.",
    ]


def test_methods_that_are_not_significantly_behind_lead_as_well(row):
    rows = [row("A", 0.62, 0.6), row("B", 0.6, 0.61), row("C", 0.3, 0.3)]
    differences = [
        difference_of("A", "B", 0.005, 0.3),
        difference_of("A", "C", 0.31, 0.003),
        difference_of("B", "C", 0.3, 0.003),
    ]
    verdict = judge(rows, differences, {})
    assert (verdict.is_significant, verdict.level) == (False, ("B",))
    sentences = plain(verdict)
    assert sentences[1].startswith("The difference is not significant: p = 0.3 by the bootstrap")
    assert sentences[2] == "Not significantly behind A: B."
    (picture,) = sentences[3:]
    assert picture.startswith("Whether A and B use the picture was not tested:")


def test_a_lead_over_all_seeds_that_paired_runs_do_not_have_is_not_significant(row):
    verdict = judge([row("A", 0.7, 0.7), row("B", 0.6)], [difference_of("A", "B", -0.2, 0.001)], {})
    assert verdict.is_significant is False
    assert plain(verdict)[1] == (
        f"Over the 2 pairs of seeds that both methods have, it is behind B: {MINUS}20.00 points, "
        f"95% interval {MINUS}21.00 to {MINUS}19.00, p = 0.001 by the bootstrap over posts and "
        "seeds."
    )


def test_too_few_seeds_for_many_pairs_are_named(row):
    rows = [row(name, 0.5, 0.5) for name in "ABCD"]
    differences = [difference_of("A", name, 0.1, 0.06) for name in "BCD"]
    differences += [
        difference_of("B", "C", 0, 1),
        difference_of("B", "D", 0, 1),
        difference_of("C", "D", 0, 1),
    ]
    assert "2 seeds cannot give a smaller value than 0.06 for so many pairs: run more seeds." in (
        plain(judge(rows, differences, {}))
    )


def test_one_seed_shows_no_significance_of_methods(row):
    verdict = judge(
        [row("A", 0.7), row("B", 0.6)], [difference_of("A", "B", 0.1, 0.1, ((1, 1),))], {}
    )
    assert (verdict.is_significant, verdict.level) == (None, ("B",))
    assert plain(verdict)[:3] == [
        "A leads with 70.00 F1 (1 seed), 10.00 points ahead of B (60.00).",
        "One seed cannot show that a method is better than another: that needs at least two seeds "
        "of both.",
        "These two trained runs differ significantly on other posts of this kind: +10.00 points, "
        "95% interval +9.00 to +11.00, p = 0.001 by approximate randomisation over posts.",
    ]


def test_a_lead_without_predictions_is_not_tested(row):
    verdict = judge([row("A", 0.7), row("B", 0.6)], [], {})
    assert verdict.difference is None
    assert "not tested for significance" in verdict.sentences[1]


def test_one_method_and_equal_methods(row):
    alone = judge([row("A", 0.7)], [], {})
    assert (alone.runner_up, alone.lead) == (None, None)
    assert alone.sentences[0] == (
        "A has 70.00 F1 (1 seed). There is no other method to compare it with."
    )
    level = judge([row("A", 0.7), row("B", 0.7)], [], {})
    assert level.sentences[0] == "A and B (70.00) are level with 70.00 F1 (1 seed)."


def test_the_best_of_text_alone_is_compared_with_the_leader(row):
    rows = [row("A", 0.7)]
    assert "is 20.00 points above." in judge(rows, [], {}, 0.5).sentences[1]
    assert "is 5.00 points below." in judge(rows, [], {}, 0.75).sentences[1]


@pytest.mark.parametrize(
    ("shuffled", "p_value", "expected"),
    [
        (
            0.4,
            0.00001,
            "A uses the picture: F1 is 70.00 with the right pictures, 40.00 with the pictures of "
            f"other posts ({MINUS}30.00 points, p < 0.0001) and 45.00 without pictures "
            f"({MINUS}25.00 points).",
        ),
        (0.69, 0.2, "No use of the picture is shown for A: F1 is 70.00"),
        (0.9, 0.001, "No use of the picture is shown for A: F1 is 70.00"),
        (0.4, None, "significance was not tested, because predictions are missing."),
    ],
)
def test_use_of_the_picture_is_judged_by_shuffled_ones(row, shuffled, p_value, expected):
    losses = {
        "shuffled": PictureLoss((1,), 0.7, shuffled, 0.7 - shuffled, p_value),
        "none": PictureLoss((1,), 0.7, 0.45, 0.25, None),
    }
    assert expected in plain(judge([row("A", 0.7)], [], {"A": losses}))[-1]


def test_a_method_whose_score_stays_the_same_does_not_use_the_picture(row):
    loss = PictureLoss((1,), 0.7, 0.7, 0.0, 1.0)
    text_only = replace(row("A", 0.7), pictures={"none": mean_and_deviation([0.7])})
    assert judge([row("A", 0.7)], [], {"A": {"shuffled": loss}}).sentences[-1] == (
        "A does not use the picture: its F1 of 70.00 stays the same."
    )
    assert judge([text_only], [], {}).sentences[-1] == (
        "A was trained and tested without pictures."
    )
