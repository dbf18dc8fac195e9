"""Content of a certificate as plain data: the source of its Markdown, JSON and summary."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import torch
from torch import Tensor

from mmie.data import Corpus
from mmie.experiments.picture_exchange import ExchangedPredictions, predict_exchanged
from mmie.metrics import bootstrap_totals, exchange_p_values, micro_f1, share_needing
from mmie.reports.certificate.outcomes import (
    Axis,
    ExchangeRecords,
    PictureOutcomes,
    exchange_records,
)
from mmie.reports.comparison.slices import (
    FREQUENCY_TITLE,
    LENGTH_TITLE,
    LENGTHS,
    length_bucket,
)
from mmie.reports.diagnosis.target import DiagnosisTarget
from mmie.reports.significance import holm_correction
from mmie.reports.statistics import types_by_frequency
from mmie.reports.training_mentions import FREQUENCIES, count_mentions, frequency_bucket
from mmie.types import MmieError, Task

TYPE_TITLE = "Type"
SIGNIFICANT = 0.05
"""p-value below which the answers are said to depend on the right picture."""
_INTERVAL = torch.tensor([0.025, 0.975], dtype=torch.float64)


@dataclass(frozen=True, slots=True)
class Interval:
    """Estimate with its 95 percent interval.

    Attributes:
        value: The estimate.
        low: Lower end of the interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PictureUse:
    """Use of the right pictures in a part of the answers.

    Attributes:
        name: Name of the part.
        gold: Number of gold answers.
        true_answers: Number of gold answers that are found with the right pictures.
        f1: F1 with the right pictures, 0 to 1.
        other_f1: F1 over all exchanges with pictures of other posts.
        difference: The first minus the second.
        p_value: p-value of the permutation test, one-sided.
        p_holm: p-value adjusted for the number of parts; that of all answers is not adjusted.
        lost: Share of the true answers that is lost with the picture of another post, less what
            other pictures find instead.
        needing: Estimated share of the true answers that need the right picture: see
            `mmie.metrics.share_needing`.
    """

    name: str
    gold: int
    true_answers: int
    f1: float
    other_f1: float
    difference: Interval
    p_value: float
    p_holm: float
    lost: Interval
    needing: Interval


@dataclass(frozen=True, slots=True)
class Certificate:
    """How much of a checkpoint's score on a split needs the right pictures.

    Attributes:
        method: Class name of the method.
        checkpoint: Its checkpoint.
        corpus: Class name of the corpus.
        root: Folder of the corpus.
        task: ``ner`` or ``re``.
        split: The split.
        assignment: ``right``, or ``shuffled`` for a check of the test itself.
        posts: Number of posts.
        posts_with_picture: Number of posts with a readable picture.
        pictures: Number of different pictures.
        others: Least number of other pictures that a post was tried with.
        permutations: Most permutations that were scored.
        resamples: Number of bootstrap samples.
        seed: Seed of blocks, permutations and samples.
        total: Use of pictures in all answers.
        parts: Use of pictures in parts of the answers, by the title of what divides them.
        notes: Reasons why something that the run's configuration names is left out.
    """

    method: str
    checkpoint: str
    corpus: str
    root: str
    task: Task
    split: str
    assignment: str
    posts: int
    posts_with_picture: int
    pictures: int
    others: int
    permutations: int
    resamples: int
    seed: int
    total: PictureUse
    parts: dict[str, tuple[PictureUse, ...]]
    notes: tuple[str, ...] = ()

    @property
    def is_significant(self) -> bool:
        """Whether the test finds that the answers depend on the right picture."""
        return self.total.p_value < SIGNIFICANT


def certify(
    target: DiagnosisTarget,
    others: int = 19,
    permutations: int = 9999,
    resamples: int = 10_000,
    seed: int = 1234,
    folder: Path | None = None,
) -> tuple[Certificate, list[ExchangeRecords]]:
    """Test and measure how much of a score needs the right pictures.

    The interval is that of a bootstrap over posts, in which posts with the same picture are drawn
    together.

    Args:
        target: The method and the split.
        others: Least number of other pictures that each post is tried with.
        permutations: Number of permutations of the pictures.
        resamples: Number of bootstrap samples.
        seed: Seed of blocks, permutations and samples.
        folder: Folder of the feature caches; None caches nothing.

    Returns:
        The certificate, and the predictions for each instance that it is computed from.

    Raises:
        ExchangeError: The method reads no pictures, or the split has fewer than three different
            ones.
    """
    exchanged = predict_exchanged(target.module, target.data, target.split, others, seed, folder)
    records = exchange_records(exchanged)
    outcomes = PictureOutcomes.count(exchanged, records, answer_axes(records, target.data.corpus))
    total, *uses = measure_use(outcomes, exchanged, permutations, resamples, seed)
    parts = {}
    numbered = zip(outcomes.parts[1:], uses, strict=True)
    for title, group in groupby(numbered, key=lambda pair: pair[0].title):
        parts[title] = tuple(use for _, use in group)
    with_picture = {entry.right.id for entry in records if entry.picture is not None}
    certificate = Certificate(
        method=type(target.module).__name__,
        checkpoint=str(target.checkpoint),
        corpus=target.data.corpus.name,
        root=str(target.data.corpus.root),
        task=target.module.schema.task,
        split=target.split,
        assignment=target.data.pictures,
        posts=len({entry.right.id for entry in records}),
        posts_with_picture=len(with_picture),
        pictures=exchanged.blocks.num_pictures,
        others=min(map(len, exchanged.blocks.blocks)) - 1,
        permutations=permutations,
        resamples=resamples,
        seed=seed,
        total=total,
        parts=parts,
        notes=target.notes,
    )
    return certificate, records


def answer_axes(records: Sequence[ExchangeRecords], corpus: Corpus) -> list[Axis]:
    """Return the properties that divide the answers: type, length, frequency in training.

    Frequency is left out if the training split cannot be read.
    """
    types = tuple(types_by_frequency([[entry.right for entry in records]]))
    axes = [
        Axis(TYPE_TITLE, types, lambda _record, entity: entity.type),
        Axis(LENGTH_TITLE, LENGTHS, length_bucket),
    ]
    try:
        posts = corpus.posts("train")
    except (MmieError, OSError):
        return axes
    task: Task = "re" if any(entry.right.arguments for entry in records) else "ner"
    bucket = partial(frequency_bucket, count_mentions(posts, task))
    return [*axes, Axis(FREQUENCY_TITLE, FREQUENCIES, bucket)]


def measure_use(
    outcomes: PictureOutcomes,
    exchanged: ExchangedPredictions,
    permutations: int = 9999,
    resamples: int = 10_000,
    seed: int = 1234,
) -> list[PictureUse]:
    """Test and measure the use of pictures in each part of the answers."""
    p_values = exchange_p_values(
        outcomes.counts, outcomes.fixed.sum(0), exchanged.blocks, permutations, seed
    ).tolist()
    adjusted = [p_values[0], *holm_correction(p_values[1:])]
    clusters = outcomes.clusters(exchanged)  # (clusters, parts, 7)
    drawn = bootstrap_totals(clusters.flatten(1), resamples, seed)  # (resamples, parts * 7)
    drawn = drawn.view(resamples, *clusters.shape[1:])  # (resamples, parts, 7)
    total = clusters.sum(0)  # (parts, 7)
    right, other = _f1_pair(total)  # (parts,) each
    intervals = []
    for values, samples in zip(_measures(total), _measures(drawn), strict=True):
        ends = samples.quantile(_INTERVAL, dim=0)  # (2, parts)
        intervals.append(torch.cat([values.unsqueeze(0), ends]).T.tolist())  # (parts, 3)
    uses = []
    for index, part in enumerate(outcomes.parts):
        true_positives, _, gold = total[index, :3].tolist()
        difference, lost, needing = (Interval(*values[index]) for values in intervals)
        use = PictureUse(
            name=part.name,
            gold=round(gold),
            true_answers=round(true_positives),
            f1=right[index].item(),
            other_f1=other[index].item(),
            difference=difference,
            p_value=p_values[index],
            p_holm=adjusted[index],
            lost=lost,
            needing=needing,
        )
        uses.append(use)
    return uses


def _f1_pair(totals: Tensor) -> tuple[Tensor, Tensor]:
    """Compute F1 with the right pictures and with others of totals (..., 7), (...) each."""
    with_others = torch.cat([totals[..., 3:5], totals[..., 2:3]], dim=-1)  # (..., 3)
    return micro_f1(totals[..., :3]), micro_f1(with_others)


def _measures(totals: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute difference in F1, lost share and needing share of totals (..., 7), (...) each."""
    right, other = _f1_pair(totals)
    found, gain, squared = totals[..., 0], totals[..., 5], totals[..., 6]
    lost = gain / found.clamp(min=1)
    return right - other, lost, share_needing(gain, squared, found)
