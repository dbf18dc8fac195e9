"""What a comparison says, as plain data: the one source of its HTML, Markdown and JSON."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mmie.data import DemoCorpus
from mmie.data.demo import DemoBounds
from mmie.methods.papers import Published
from mmie.reports.comparison.disagreements import Disagreement, find_disagreements
from mmie.reports.comparison.groups import ComparisonGroup, System
from mmie.reports.comparison.insight import Explain, Insight
from mmie.reports.comparison.slices import Slice, divide
from mmie.reports.methods import MethodError, find_listed, own_paper
from mmie.reports.statistics import (
    Difference,
    Spread,
    confusion,
    difference,
    holm,
    post_counts,
    scores_by_type,
    spread,
    types_of,
)
from mmie.runs import Fit, Run
from mmie.types import Task

SCORES = ("precision", "recall", "f1")


@dataclass(frozen=True, slots=True)
class MethodRow:
    """One system's scores and cost.

    Attributes:
        name: Name of the system.
        folders: Its run folders.
        seeds: Their seeds.
        scores: Precision, recall, F1 (and accuracy) over the seeds, 0 to 1.
        by_type: Precision, recall and F1 of each type over the seeds.
        published: The score of the method's paper on this corpus, in percent; None if it has none.
        remark: What one must know of the published score.
        pictures: F1 over the seeds with right, shuffled and no pictures, as far as tested.
        curves: Validation F1 by epoch, of each seed.
        cost: What training took, averaged over the seeds; None if unknown.
    """

    name: str
    folders: tuple[str, ...]
    seeds: tuple[int, ...]
    scores: dict[str, Spread]
    by_type: dict[str, dict[str, Spread]]
    published: Published | None
    remark: str
    pictures: dict[str, Spread]
    curves: dict[int, tuple[float | None, ...]]
    cost: dict[str, float | None] | None


@dataclass(frozen=True, slots=True)
class Summary:
    """All that is said of one corpus and task.

    Attributes:
        corpus: Class name of the corpus.
        root: Its folder.
        task: ``ner`` or ``re``.
        posts: Posts of the test split; 0 without predictions.
        types: Entity types or relation labels, the most frequent first.
        support: Gold entities or relations of each type.
        rows: The systems.
        text_bound: Best F1 that text alone can reach, on the demo corpus; else None.
        differences: Every pair of systems.
        slices: F1 by length, by frequency in training and by picture.
        confusions: For each system, gold by predicted; the last row and column stand for nothing.
        disagreements: Instances on which systems differ most.
        notes: What could not be used, and why.
        insights: What systems make of their views, as far as they were looked into.
    """

    corpus: str
    root: str
    task: str
    posts: int
    types: tuple[str, ...]
    support: dict[str, int]
    rows: tuple[MethodRow, ...]
    text_bound: float | None
    differences: tuple[Difference, ...]
    slices: tuple[Slice, ...]
    confusions: dict[str, list[list[int]]]
    disagreements: tuple[Disagreement, ...]
    notes: tuple[str, ...]
    insights: dict[str, Insight]


def summarise(
    group: ComparisonGroup,
    resamples: int = 10_000,
    disagreements: int = 12,
    explain: Explain | None = None,
) -> Summary:
    """All that is said of one corpus and task.

    Args:
        group: Systems and their answers.
        resamples: How often posts are drawn for each pair of systems.
        disagreements: How many instances on which systems differ are shown at most.
        explain: Looks into the first run of each system; None looks into none.
    """
    insights = (
        {}
        if explain is None
        else {system.name: explain(system.runs[0]) for system in group.systems}
    )
    answered = [system for system in group.systems if system.predictions]
    every = [predictions for system in answered for predictions in system.predictions.values()]
    types = types_of(every)
    slices, slice_notes = divide(group, answered)
    gold = Counter(
        entity.type for prediction in (every[0] if every else ()) for entity in prediction.gold
    )
    return Summary(
        corpus=group.corpus,
        root=str(group.root),
        task=group.task,
        posts=len({prediction.id for prediction in every[0]}) if every else 0,
        types=tuple(types),
        support={name: gold[name] for name in types},
        rows=tuple(_row(system, types) for system in group.systems),
        text_bound=text_bound(group.corpus, group.root, group.task),
        differences=pairwise_differences(answered, resamples),
        slices=slices,
        confusions={
            system.name: confusion(list(system.predictions.values()), types) for system in answered
        },
        disagreements=find_disagreements(answered, disagreements),
        notes=(
            *group.notes,
            *slice_notes,
            *(reason for reason in insights.values() if isinstance(reason, str)),
        ),
        insights={
            name: insight for name, insight in insights.items() if isinstance(insight, Insight)
        },
    )


def text_bound(corpus: str, root: Path, task: Task) -> float | None:
    """The best F1 that text alone can reach on the test split, where the corpus is the demo and is still there."""
    file = root.expanduser() / "bounds.json"
    return (
        DemoBounds.read(file).score(task)
        if corpus == DemoCorpus.__name__ and file.exists()
        else None
    )


def pairwise_differences(systems: Sequence[System], resamples: int) -> tuple[Difference, ...]:
    """Every pair of systems, with p-values adjusted for the number of pairs."""
    counts = [
        (
            system.name,
            {seed: post_counts(predictions) for seed, predictions in system.predictions.items()},
        )
        for system in systems
    ]
    found = [
        difference(first, second, resamples)
        for place, first in enumerate(counts)
        for second in counts[place + 1 :]
    ]
    adjusted = holm([pair.p_randomization for pair in found])
    return tuple(replace(pair, p_holm=value) for pair, value in zip(found, adjusted, strict=True))


def published_score(run: Run) -> tuple[Published | None, str]:
    """What the method's paper reports for training and testing as the run did, and a remark on it."""
    try:
        paper = own_paper(find_listed(run.class_path))
    except MethodError:
        return None, ""
    if paper is None or run.settings.get("model.init_from") is not None:
        return None, ""
    rows = [
        row
        for row in paper.published
        if (row.corpus, row.trained_on) == (run.corpus, run.trained_on)
    ]
    found = next((row for row in rows if row.started_from is None), None)
    return found, paper.remark if found else ""


def _row(system: System, types: Sequence[str]) -> MethodRow:
    """One system's scores and cost."""
    names = [*SCORES, *(["accuracy"] if "accuracy" in system.runs[0].scores else [])]
    by_type = [scores_by_type(predictions, types) for predictions in system.predictions.values()]
    published, remark = published_score(system.runs[0])
    return MethodRow(
        name=system.name,
        folders=tuple(str(run.folder) for run in system.runs),
        seeds=tuple(run.seed for run in system.runs),
        scores={name: spread([run.scores[name] for run in system.runs]) for name in names},
        by_type={
            kind: {
                name: spread([getattr(found[kind], name) for found in by_type]) for name in SCORES
            }
            for kind in (types if by_type else ())
        },
        published=published,
        remark=remark,
        pictures=_picture_test(system.runs),
        curves={run.seed: run.fit.curve for run in system.runs if run.fit is not None},
        cost=_cost([run.fit for run in system.runs if run.fit is not None]),
    )


def _picture_test(runs: Sequence[Run]) -> dict[str, Spread]:
    """F1 with right, shuffled and no pictures, over the seeds that were tested so."""
    tests = [{run.pictures: run.scores["f1"], **run.other_pictures} for run in runs]
    return {
        pictures: spread([test[pictures] for test in tests if pictures in test])
        for pictures in ("right", "shuffled", "none")
        if any(pictures in test for test in tests)
    }


def _cost(fits: Sequence[Fit]) -> dict[str, float | None] | None:
    """What training took: means over the seeds, and the most memory."""
    if not fits:
        return None
    speeds = [fit.samples_per_second for fit in fits if fit.samples_per_second is not None]
    on_gpu = [fit.peak_gpu_memory_gib for fit in fits if fit.peak_gpu_memory_gib is not None]
    return {
        "parameters": fits[0].parameters,
        "trained": fits[0].trained,
        "samples_per_second": spread(speeds).mean if speeds else None,
        "minutes_to_best": spread([fit.minutes_to_best for fit in fits]).mean,
        "peak_memory_gib": max(fit.peak_memory_gib for fit in fits),
        "peak_gpu_memory_gib": max(on_gpu) if on_gpu else None,
    }
