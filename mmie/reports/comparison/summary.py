"""Content of a comparison as plain data: the source of its HTML, Markdown and JSON."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from mmie.data import DemoCorpus
from mmie.data.demo import DemoBounds
from mmie.data.parsing import expand_user
from mmie.reports.comparison.disagreements import Disagreement, find_disagreements
from mmie.reports.comparison.groups import ComparisonGroup, System
from mmie.reports.comparison.insight import Explainer, Insight
from mmie.reports.comparison.method_row import MethodRow, build_method_row
from mmie.reports.comparison.picture_use import PictureLoss, picture_losses
from mmie.reports.comparison.slices import Slice, is_telling, slice_scores
from mmie.reports.comparison.verdict import Verdict, judge
from mmie.reports.methods import find_imported_method
from mmie.reports.significance import (
    Difference,
    SystemCounts,
    adjust_p_values,
    compare_systems,
)
from mmie.reports.statistics import confusion_matrix, types_by_frequency
from mmie.runs import PredictionRecord
from mmie.types import Task
from mmie.utils.plugins import advise_import


@dataclass(frozen=True, slots=True)
class Summary:
    """Content of a comparison on one corpus and task.

    Attributes:
        corpus: Class name of the corpus.
        root: Folder of the corpus.
        task: ``ner`` or ``re``.
        posts: Number of posts in the test split; 0 without predictions.
        types: Entity types or relation labels, the most frequent first.
        support: Number of gold entities or relations of each type.
        rows: Scores and cost of the systems.
        text_bound: Best F1 that text alone can reach, on the demo corpus; else None.
        differences: Comparisons of every two systems.
        slices: F1 by length, by picture and by frequency in training, without slices whose gold
            lies in one part.
        uniform: Properties of the test split that all gold shares, with its part: the slices that
            are left out.
        confusions: Counts of gold by predicted type for each system; the last row and column stand
            for no entity.
        disagreements: Instances on which systems differ most.
        notes: Reasons why something is left out.
        insights: Effects of the views on systems that were diagnosed.
        corpus_note: Note of the corpus, empty if it has none.
        picture_losses: What each system loses with ``shuffled`` pictures and with ``none``.
        verdict: Who leads, how surely, and whether pictures matter.
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
    corpus_note: str
    uniform: dict[str, str]
    picture_losses: dict[str, dict[str, PictureLoss]]
    verdict: Verdict

    @property
    def num_seeds(self) -> dict[str, int]:
        """Number of seeds of each system."""
        return {row.name: len(row.seeds) for row in self.rows}


def summarise(
    group: ComparisonGroup,
    resamples: int = 10_000,
    disagreements: int = 12,
    explain: Explainer | None = None,
) -> Summary:
    """Summarise the comparison on one corpus and task.

    Args:
        group: Systems with their predictions.
        resamples: Number of bootstrap samples for every two systems.
        disagreements: Largest number of instances on which systems differ.
        explain: Diagnoses the first run of each system; None diagnoses no run.
    """
    insights, insight_notes = _explain_systems(group.systems, explain)
    systems = [system for system in group.systems if system.predictions]
    runs: list[list[PredictionRecord]] = []
    for system in systems:
        runs += system.predictions.values()
    types = types_by_frequency(runs)
    posts: set[str] = set()
    support: Counter[str] = Counter()
    for record in runs[0] if runs else ():
        posts.add(record.id)
        support.update(entity.type for entity in record.gold)
    rows = [build_method_row(system, types) for system in group.systems]
    slices, slice_notes = slice_scores(systems)
    differences = pairwise_differences(systems, resamples)
    losses = {system.name: picture_losses(system, resamples) for system in group.systems}
    bound = text_bound(group.corpus, group.root, group.task)
    confusions = {}
    for system in systems:
        confusions[system.name] = confusion_matrix(list(system.predictions.values()), types)
    return Summary(
        corpus=group.corpus,
        root=str(group.root),
        task=group.task,
        posts=len(posts),
        types=tuple(types),
        support={name: support[name] for name in types},
        rows=tuple(rows),
        text_bound=bound,
        differences=differences,
        slices=tuple(filter(is_telling, slices)),
        confusions=confusions,
        disagreements=find_disagreements(systems, disagreements),
        notes=(*group.notes, *_unknown_methods(group.systems), *slice_notes, *insight_notes),
        insights=insights,
        corpus_note=group.corpus_note,
        uniform={one.title: one.parts[0] for one in slices if one.parts and not is_telling(one)},
        picture_losses=losses,
        verdict=judge(rows, differences, losses, bound),
    )


def text_bound(corpus: str, root: Path, task: Task) -> float | None:
    """Return the best F1 that text alone can reach, if the corpus is a demo corpus that exists."""
    file = expand_user(root) / "bounds.json"
    if corpus != DemoCorpus.__name__ or not file.exists():
        return None
    return DemoBounds.read(file).score(task)


def pairwise_differences(systems: Sequence[System], resamples: int) -> tuple[Difference, ...]:
    """Compare every two systems, with p-values adjusted for the number of comparisons."""
    counts = []
    for system in systems:
        counts.append(SystemCounts.from_predictions(system.name, system.predictions))
    differences = []
    for first, second in combinations(counts, 2):
        differences.append(compare_systems(first, second, resamples))
    return tuple(adjust_p_values(differences))


def _unknown_methods(systems: Sequence[System]) -> Iterator[str]:
    """Yield a note for each class of a method that has not been imported."""
    for class_path in dict.fromkeys(system.runs[0].class_path for system in systems):
        if find_imported_method(class_path) is None:
            yield (
                f"{class_path} is no method that has been imported: published scores of it are "
                f"left out: {advise_import(class_path)}."
            )


def _explain_systems(
    systems: Sequence[System], explain: Explainer | None
) -> tuple[dict[str, Insight], list[str]]:
    """Diagnose the first run of each system.

    Returns:
        Insights by the name of the system, and the reasons why others cannot be diagnosed or lack
        something.
    """
    insights: dict[str, Insight] = {}
    notes: list[str] = []
    if explain is None:
        return insights, notes
    for system in systems:
        outcome = explain(system.runs[0])
        if isinstance(outcome, Insight):
            insights[system.name] = outcome
            notes += outcome.notes
        elif outcome is not None:
            notes.append(outcome)
    return insights, notes
