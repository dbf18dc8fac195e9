"""F1 on parts of the test split: by length, by picture, and by occurrences in training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmie.reports.comparison.groups import LEFT_OUT, System, pictures_of_posts
from mmie.reports.statistics import MeanAndDeviation, mean_and_deviation, scores_by_bucket
from mmie.reports.training_mentions import (
    FREQUENCIES,
    count_training_mentions,
    frequency_bucket,
)
from mmie.runs import PredictionRecord
from mmie.types import Entity

_LENGTH_LIMITS = ((8, "1 to 8 words"), (16, "9 to 16 words"), (24, "17 to 24 words"))
_LONGEST = "25 words or more"
LENGTHS = (*(name for _, name in _LENGTH_LIMITS), _LONGEST)
"""Names of the parts by length, the shortest posts first."""
LENGTH_TITLE = "Length of the post"
FREQUENCY_TITLE = "Occurrences of the entity in the training split"
_READABLE, _NOT_FOUND, _NO_PICTURE = "picture", "picture file not found", "no picture"

Bucket = Callable[[PredictionRecord, Entity], str]
"""Returns the part that an entity of an instance belongs to."""


@dataclass(frozen=True, slots=True)
class Slice:
    """F1 on parts of the test split.

    Attributes:
        title: Property that splits the test split into parts.
        parts: Names of the parts, in order.
        gold: Number of gold entities or relations in each part.
        f1: F1 of each system on each part, over its seeds.
    """

    title: str
    parts: tuple[str, ...]
    gold: tuple[int, ...]
    f1: dict[str, tuple[MeanAndDeviation, ...]]


def slice_scores(systems: Sequence[System]) -> tuple[tuple[Slice, ...], list[str]]:
    """Compute F1 on parts of the test split.

    A slice says nothing if one part holds all gold: its F1 is that of the table of scores.

    Args:
        systems: Systems with predictions for the same posts.

    Returns:
        All slices, also those of one part (see `is_telling`), and the reasons why others are left
        out.
    """
    if not systems:
        return (), []
    by_length = _slice(LENGTH_TITLE, LENGTHS, systems, length_bucket)
    by_picture = _slice_by_picture(systems)
    run = systems[0].runs[0]
    mentions = count_training_mentions(run)
    if mentions is None:
        note = (
            f"The training text of {run.corpus} in {run.root} cannot be read here: there are no "
            "scores by occurrences in training."
        )
        return (by_length, by_picture), [note]

    def bucket(prediction: PredictionRecord, entity: Entity) -> str:
        return frequency_bucket(mentions, prediction, entity)

    by_frequency = _slice(FREQUENCY_TITLE, FREQUENCIES, systems, bucket)
    return (by_length, by_picture, by_frequency), []


def is_telling(slice_: Slice) -> bool:
    """Tell whether the gold of a slice lies in more than one part."""
    return len(slice_.parts) > 1


def length_bucket(prediction: PredictionRecord, _entity: Entity) -> str:
    """Return the part of a post by its number of words."""
    for limit, name in _LENGTH_LIMITS:
        if len(prediction.words) <= limit:
            return name
    return _LONGEST


def _slice_by_picture(systems: Sequence[System]) -> Slice:
    """Compute F1 on posts with a picture, without one, and with one that is not found."""
    buckets = {}
    for post, picture in pictures_of_posts(systems).items():
        if picture is None:
            buckets[post] = _NO_PICTURE
        elif picture != LEFT_OUT and Path(picture).is_file():
            buckets[post] = _READABLE
        else:
            buckets[post] = _NOT_FOUND

    def bucket(prediction: PredictionRecord, _entity: Entity) -> str:
        return buckets[prediction.id]

    return _slice("Picture of the post", (_READABLE, _NOT_FOUND, _NO_PICTURE), systems, bucket)


def _slice(title: str, parts: Sequence[str], systems: Sequence[System], bucket: Bucket) -> Slice:
    """Compute F1 of each system on each part that has gold.

    Args:
        title: Title of the slice.
        parts: Names of all parts, in order.
        systems: Systems with predictions for the same posts.
        bucket: Returns the part of an entity.
    """
    runs = {}
    for system in systems:
        predictions = system.predictions.values()
        runs[system.name] = [scores_by_bucket(of_seed, bucket) for of_seed in predictions]
    # Every run has the same gold, so the first one tells for all of them which parts have any.
    first = runs[systems[0].name][0]
    gold = {part: first[part].support for part in parts if part in first and first[part].support}
    f1 = {}
    for name, scores in runs.items():
        f1_of_parts = []
        for part in gold:
            f1_of_parts.append(mean_and_deviation([run[part].f1 for run in scores]))
        f1[name] = tuple(f1_of_parts)
    return Slice(title, tuple(gold), tuple(gold.values()), f1)
