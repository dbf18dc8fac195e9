"""Diagnosis of a system on a sample of the test split, for the comparison."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmie.runs import Run
from mmie.runs.folder import BEST
from mmie.types import MmieError

Explainer = Callable[[Run], "Insight | str | None"]
"""Function that diagnoses a run, or returns why it cannot. None is for methods without pictures."""


@dataclass(frozen=True, slots=True)
class Insight:
    """Effects of the views on a method's predictions.

    Attributes:
        seed: Seed of the diagnosed run.
        count: Number of instances in the sample.
        views: For each view its ``name``, the ``count`` of instances that have it, the mean
            ``support`` for the prediction (log probability, minus that without the view), the share
            of instances that it ``helps``, and the mean ``change`` of the states.
        page: HTML page of `mmie diagnose` on the sample.
        notes: Reasons why something that the run's configuration names is left out.
    """

    seed: int
    count: int
    views: tuple[dict[str, Any], ...]
    page: str
    notes: tuple[str, ...] = ()


def explain_run(run: Run, count: int) -> Insight | str | None:
    """Diagnose the best checkpoint of a run.

    Args:
        run: The run.
        count: Number of instances to draw from its test split.

    Returns:
        The effects of the views, or the reason why the run cannot be diagnosed; None if the method
        uses no pictures.
    """
    # These import the methods' classes, which takes seconds.
    from mmie.reports.corpora import build_corpus
    from mmie.reports.diagnosis.diagnosis import diagnose_split
    from mmie.reports.diagnosis.page import render_split
    from mmie.reports.diagnosis.split import view_rows
    from mmie.reports.diagnosis.target import load_target, read_data_settings

    checkpoint = run.folder / BEST
    try:
        settings = read_data_settings(checkpoint)
        target = load_target(checkpoint, build_corpus(run.corpus_config), settings)
        if not target.module.uses_images:
            return None
        diagnoses, swapped = diagnose_split(target, count)
    except (MmieError, AttributeError, TypeError) as error:
        return f"{run.folder} cannot be diagnosed: {error}"
    page = render_split(target, diagnoses, swapped)
    views = tuple(view_rows(diagnoses))
    return Insight(run.seed, len(diagnoses), views, page, target.notes)
