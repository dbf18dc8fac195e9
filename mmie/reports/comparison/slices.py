"""F1 on parts of the test split: by length, by picture, and by occurrences in training."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmie.reports.comparison.groups import ComparisonGroup, System, pictures_of_posts
from mmie.reports.statistics import Spread, sliced, spread
from mmie.reports.training_mentions import FREQUENCIES, frequency_bucket, training_mentions
from mmie.runs import PredictionRecord
from mmie.types import Entity

_LENGTHS = ((8, "1 to 8 words"), (16, "9 to 16 words"), (24, "17 to 24 words"))
_LONGER = "25 words or more"
_PICTURE_BUCKETS = ("picture", "picture file not found", "no picture")


@dataclass(frozen=True, slots=True)
class Slice:
    """F1 on parts of the test split.

    Attributes:
        title: What makes the parts.
        parts: Names of the parts, in order.
        gold: Gold entities or relations in each part.
        f1: For each system its F1 on each part, over its seeds.
    """

    title: str
    parts: tuple[str, ...]
    gold: tuple[int, ...]
    f1: dict[str, tuple[Spread, ...]]


def divide(
    group: ComparisonGroup, systems: Sequence[System]
) -> tuple[tuple[Slice, ...], list[str]]:
    """F1 on parts of the test split, and why a division is left out."""
    if not systems:
        return (), []
    images, run = pictures_of_posts(systems), systems[0].runs[0]
    here = {name: image is not None and Path(image).is_file() for name, image in images.items()}

    def by_picture(prediction: PredictionRecord, _: Entity) -> str:
        return _PICTURE_BUCKETS[0 if here[prediction.id] else 1 if images[prediction.id] else 2]

    slices = [
        _slice(
            "Length of the post",
            (*(name for _, name in _LENGTHS), _LONGER),
            systems,
            _length_bucket,
        ),
        _slice("Picture of the post", _PICTURE_BUCKETS, systems, by_picture),
    ]
    seen = training_mentions(run)
    if seen is None:
        return tuple(slices), [
            f"The training text of {run.corpus} in {run.root} cannot be read here: nothing is said "
            "of entities seen and unseen in training."
        ]
    of_training = _slice(
        "Occurrences of the entity in the training split",
        FREQUENCIES,
        systems,
        lambda prediction, entity: frequency_bucket(seen, prediction, entity),
    )
    return (*slices, of_training), []


def _slice(
    title: str,
    parts: Sequence[str],
    systems: Sequence[System],
    bucket: Callable[[PredictionRecord, Entity], str],
) -> Slice:
    """F1 of each system on each part; parts without gold are left out."""
    found = {
        system.name: [sliced(predictions, bucket) for predictions in system.predictions.values()]
        for system in systems
    }
    first = next(iter(found.values()))[0]
    kept = [part for part in parts if part in first and first[part].support]
    f1 = {
        name: tuple(
            spread([run[part].f1 for run in runs]) for part in kept
        )  # gold is there in every run
        for name, runs in found.items()
    }
    return Slice(title, tuple(kept), tuple(first[part].support for part in kept), f1)


def _length_bucket(prediction: PredictionRecord, _: Entity) -> str:
    return next((name for limit, name in _LENGTHS if len(prediction.words) <= limit), _LONGER)
