"""Verdict of a comparison in sentences: who leads, how surely, and whether pictures matter."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mmie.metrics import smallest_p_value
from mmie.reports.comparison.method_row import MethodRow
from mmie.reports.comparison.picture_use import PictureLoss
from mmie.reports.rendering import p_value, percent, signed
from mmie.reports.significance import Difference

SIGNIFICANT = 0.05
"""Adjusted p-value below which a difference is called significant."""
_WITH = {"shuffled": "with the pictures of other posts", "none": "without pictures"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Verdict of a comparison on one corpus and task.

    Attributes:
        leader: System with the highest mean F1.
        runner_up: System with the second highest mean F1; None if there is one system.
        lead: Mean F1 of the leader minus that of the runner-up, 0 to 1; None without one.
        difference: Test of their difference, leader first; None if it could not be tested.
        is_significant: Whether their difference is significant; None if it could not be tested, or
            with one pair of seeds, which says nothing of other seeds.
        level: Other systems that are not significantly behind the leader, the best first.
        sentences: The verdict in words.
    """

    leader: str
    runner_up: str | None
    lead: float | None
    difference: Difference | None
    is_significant: bool | None
    level: tuple[str, ...]
    sentences: tuple[str, ...]


def judge(
    rows: Sequence[MethodRow],
    differences: Sequence[Difference],
    losses: Mapping[str, Mapping[str, PictureLoss]],
    text_bound: float | None = None,
) -> Verdict:
    """Judge a comparison.

    Args:
        rows: Scores of the systems, at least one.
        differences: Tests of every two systems, with adjusted p-values.
        losses: What each system loses with ``shuffled`` pictures and with ``none``, by its name.
        text_bound: Best F1 that text alone can reach, if it is known.
    """
    ranked = sorted(rows, key=lambda row: -row.scores["f1"].mean)
    leader = ranked[0]
    tests = _tests_of_leader(leader.name, differences)
    level = [row.name for row in ranked[1:] if not _is_significant(tests.get(row.name))]
    sentences = [_leading_sentence(ranked)]
    second = ranked[1] if len(ranked) > 1 else None
    difference = None if second is None else tests.get(second.name)
    if second is not None:
        sentences += _significance_sentences(difference, second.name, len(differences))
        if len(ranked) > 2 and any(len(test.seeds) > 1 for test in tests.values()):
            sentences.append(
                f"Not significantly behind {leader.name}: {_join(level)}."
                if level
                else f"All other methods are significantly behind {leader.name}."
            )
    if text_bound is not None:
        sentences.append(_bound_sentence(leader, text_bound))
    leading = [row for row in ranked if row is leader or row.name in level]
    sentences += _picture_sentences(leading, losses)
    return Verdict(
        leader=leader.name,
        runner_up=None if second is None else second.name,
        lead=None if second is None else leader.scores["f1"].mean - second.scores["f1"].mean,
        difference=difference,
        is_significant=_is_significant(difference),
        level=tuple(level),
        sentences=tuple(sentences),
    )


def _tests_of_leader(leader: str, differences: Sequence[Difference]) -> dict[str, Difference]:
    """Return the test of the leader against each other system, leader first."""
    tests = {}
    for difference in differences:
        if difference.first == leader:
            tests[difference.second] = difference
        elif difference.second == leader:
            tests[difference.first] = difference.reversed()
    return tests


def _is_significant(difference: Difference | None) -> bool | None:
    """Tell whether a difference is significant, None if it was not tested over several seeds."""
    if difference is None or len(difference.seeds) < 2:
        return None
    return difference.p_holm < SIGNIFICANT and difference.difference > 0


def _leading_sentence(ranked: Sequence[MethodRow]) -> str:
    """Say which system leads, and by how much."""
    score = ranked[0].scores["f1"]
    runs = _count(len(score.values), "seed")
    f1 = f"{percent(score.mean)} F1 ({'mean of ' if score.std is not None else ''}{runs})"
    if len(ranked) == 1:
        return f"{ranked[0].name} has {f1}. There is no other method to compare it with."
    ahead = 100 * (score.mean - ranked[1].scores["f1"].mean)
    other = f"{ranked[1].name} ({percent(ranked[1].scores['f1'].mean)})"
    if round(ahead, 2) == 0:
        return f"{ranked[0].name} and {other} are level with {f1}."
    return f"{ranked[0].name} leads with {f1}, {ahead:.2f} points ahead of {other}."


def _significance_sentences(
    difference: Difference | None, second: str, num_pairs: int
) -> Iterator[str]:
    """Say whether the difference between the first two systems is significant, by which test."""
    if difference is None:
        yield (
            f"The difference from {second} was not tested for significance, because predictions "
            "for the same posts are missing."
        )
        return
    points = f"{signed(100 * difference.difference)} points"
    low, high = signed(100 * difference.low), signed(100 * difference.high)
    interval = f"95% interval {low} to {high}"
    pairs = len(difference.seeds)
    if pairs == 1:
        is_clear = difference.p_randomization < SIGNIFICANT
        yield (
            "One seed cannot show that a method is better than another: that needs at least two "
            "seeds of both."
        )
        yield (
            f"These two trained runs {'differ' if is_clear else 'do not differ'} significantly on "
            f"other posts of this kind: {points}, {interval}, {_p(difference.p_randomization)} by "
            "approximate randomisation over posts."
        )
        return
    if difference.difference < 0:
        yield (
            f"Over the {pairs} pairs of seeds that both methods have, it is behind {second}: "
            f"{points}, {interval}, {_p(difference.p_holm)} by the bootstrap over posts and seeds."
        )
        return
    verb = "is" if _is_significant(difference) else "is not"
    adjusted = ""
    if num_pairs > 1:
        adjusted = f", adjusted for {num_pairs} pairs of methods by Holm's method"
    yield (
        f"The difference {verb} significant: {_p(difference.p_holm)} by the bootstrap "
        f"over posts and seeds{adjusted} ({points} over {pairs} pairs of seeds, {interval})."
    )
    smallest = smallest_p_value(pairs) * num_pairs
    if not _is_significant(difference) and smallest >= SIGNIFICANT:
        yield (
            f"{pairs} seeds cannot give a smaller value than {min(smallest, 1):.2g} for so many "
            "pairs: run more seeds."
        )


def _bound_sentence(leader: MethodRow, bound: float) -> str:
    """Compare the leader with the best that text alone can reach."""
    gap = 100 * (leader.scores["f1"].mean - bound)
    side = "above" if gap > 0 else "below"
    return (
        f"Text alone can reach {percent(bound)} at most on this corpus; {leader.name} is "
        f"{abs(gap):.2f} points {side}."
    )


def _picture_sentences(
    rows: Sequence[MethodRow], losses: Mapping[str, Mapping[str, PictureLoss]]
) -> Iterator[str]:
    """Say of each system whether it uses the picture, and of which that was not tested."""
    untested = []
    for row in rows:
        if set(row.pictures) == {"none"}:
            yield f"{row.name} was trained and tested without pictures."
        elif losses.get(row.name):
            yield _picture_sentence(row.name, losses[row.name])
        else:
            untested.append(row.name)
    if untested:
        verb = "uses" if len(untested) == 1 else "use"
        yield (
            f"Whether {_join(untested)} {verb} the picture was not tested: mmie sweep "
            "--test-pictures tests it, and so does mmie test --data.pictures shuffled."
        )


def _picture_sentence(name: str, losses: Mapping[str, PictureLoss]) -> str:
    """Say whether a system uses the picture, by its tests with other pictures."""
    parts = []
    for pictures, loss in losses.items():
        tested = "" if loss.p_value is None else f", {_p(loss.p_value)}"
        points = f"{signed(-100 * loss.loss)} points{tested}"
        parts.append(f"{percent(loss.replaced)} {_WITH[pictures]} ({points})")
    loss = losses.get("shuffled", next(iter(losses.values())))
    numbers = f"F1 is {percent(loss.right)} with the right pictures, {' and '.join(parts)}"
    if all(abs(loss.loss) < 5e-5 for loss in losses.values()):
        return f"{name} does not use the picture: its F1 of {percent(loss.right)} stays the same."
    if loss.p_value is None:
        return f"{name}: {numbers}; significance was not tested, because predictions are missing."
    if loss.p_value < SIGNIFICANT and loss.loss > 0:
        return f"{name} uses the picture: {numbers}."
    return f"No use of the picture is shown for {name}: {numbers}."


def _join(names: Sequence[str]) -> str:
    """List names in words.

    >>> _join(["A"]), _join(["A", "B", "C"])
    ('A', 'A, B and C')
    """
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last


def _count(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> _count(1, "seed"), _count(3, "seed")
    ('1 seed', '3 seeds')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _p(value: float) -> str:
    """Format a p-value with its symbol, without a place to break the line.

    >>> _p(0.0347) == "p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.035"
    True
    """
    formatted = p_value(value)
    text = f"p {formatted}" if formatted.startswith("<") else f"p = {formatted}"
    return text.replace(" ", "\N{NO-BREAK SPACE}")
