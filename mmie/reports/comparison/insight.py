"""What a method makes of its views over a sample of the test split, for the comparison."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmie.reports.diagnosis.diagnosis import diagnose_split, load_target, read_data_settings
from mmie.reports.diagnosis.page import render_split
from mmie.reports.diagnosis.split import view_rows
from mmie.reports.training_mentions import build_corpus
from mmie.runs import Run
from mmie.types import MmieError

_CHECKPOINT = "best.ckpt"
Explain = Callable[[Run], "Insight | str | None"]
"""Looks into a run; or says why it cannot. None of a method that looks at no picture."""


@dataclass(frozen=True, slots=True)
class Insight:
    """What a method makes of its views.

    Attributes:
        seed: Seed of the run that was looked into.
        count: Instances of the sample.
        views: For every view its ``name``, the ``count`` of instances that have it, the mean ``support`` for the answer
            (log probability, minus that without the view), the share of instances that it ``helps``, and the mean
            ``change`` of the states.
        page: The page of `mmie diagnose` on the sample.
    """

    seed: int
    count: int
    views: tuple[dict[str, Any], ...]
    page: str


def explain_run(run: Run, count: int) -> Insight | str | None:
    """Look into the best checkpoint of a run.

    Args:
        run: The run.
        count: Instances to draw from its test split.

    Returns:
        What was found, or why nothing can be; None if the method looks at no picture.
    """
    checkpoint = run.folder / _CHECKPOINT
    try:
        target = load_target(
            checkpoint, build_corpus(run.corpus_config), read_data_settings(checkpoint)
        )
        if not target.module.uses_images:
            return None
        diagnoses, swapped = diagnose_split(target, count)
    except (MmieError, ImportError, AttributeError, TypeError) as error:
        return f"{run.folder} cannot be looked into: {error}"
    page = render_split(target, diagnoses, swapped)
    return Insight(run.seed, len(diagnoses), tuple(view_rows(diagnoses)), page)
