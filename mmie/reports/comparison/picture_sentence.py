"""Sentences that say what the picture test of a comparison shows."""

from collections.abc import Mapping

from mmie.reports.comparison.groups import ComparisonGroup, System
from mmie.reports.comparison.method_row import scores_by_pictures
from mmie.reports.comparison.summary import text_bound
from mmie.reports.statistics import MeanAndDeviation
from mmie.runs.picture_tests import PICTURE_TESTS, RIGHT_PICTURES
from mmie.utils.wording import format_score

_TASKS = {"ner": "entities", "re": "relations"}
_PICTURES = {"shuffled": "with the pictures of other posts", "none": "without pictures"}


def picture_sentences(group: ComparisonGroup) -> list[str]:
    """Say how the F1 of each system depends on the pictures.

    A system uses the pictures if its F1 with the right ones is above the best that the text alone
    can reach. That is known of a demo corpus alone. Of another corpus the sentences state the
    scores and no conclusion, for which ``mmie certify`` has a test.

    Args:
        group: Systems that were tested on one corpus and task.

    Returns:
        One sentence for the text alone, if its bound is known, and one for each system that was
        tested with other pictures; nothing without such a system.
    """
    bound = text_bound(group.corpus, group.root, group.task)
    tested = []
    for system in group.systems:
        scores = scores_by_pictures(system.runs)
        if RIGHT_PICTURES in scores and len(scores) > 1:
            tested.append(_describe_system(system, scores, bound))
    if tested and bound is not None:
        what = f"the {_TASKS[group.task]} of {group.corpus}"
        tested.insert(0, f"The text alone allows an F1 of at most {format_score(bound)} on {what}.")
    return tested


def _describe_system(
    system: System, scores: Mapping[str, MeanAndDeviation], bound: float | None
) -> str:
    """Say how the F1 of a system depends on the pictures, and whether it uses them.

    Args:
        system: The system.
        scores: F1 over its seeds by pictures, with the right ones among them.
        bound: Best F1 that text alone can reach; None if it is not known.
    """
    right = scores[RIGHT_PICTURES].mean
    parts = []
    for pictures in PICTURE_TESTS:
        if pictures in scores:
            parts.append(f"{format_score(scores[pictures].mean)} {_PICTURES[pictures]}")
    sentence = f"{system.name} reaches {format_score(right)} with the right pictures, "
    sentence += " and ".join(parts)
    if bound is None:
        return f"{sentence}."
    if right > bound:
        return f"{sentence}: it uses the pictures."
    return f"{sentence}: it does not exceed what the text alone allows."
