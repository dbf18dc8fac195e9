"""Predictions with their gold labels, for tests of scores."""

import random
from collections.abc import Sequence

from mmie.runs import PredictionRecord
from mmie.types import Entity

TYPES = ("PER", "LOC")


def build_record(
    gold: Sequence[tuple[int, str]],
    predicted: Sequence[tuple[int, str]],
    name: str = "1",
    words: Sequence[str] = ("a", "b", "c", "d"),
    image: str | None = None,
) -> PredictionRecord:
    """Return a record from (start, type) pairs of entities of one word."""
    gold_entities, predicted_entities = (
        tuple(Entity(start, start + 1, entity_type) for start, entity_type in pairs)
        for pairs in (gold, predicted)
    )
    return PredictionRecord(name, tuple(words), image, gold_entities, predicted_entities)


def random_records(seed: int, posts: int = 40, quality: float = 0.6) -> list[PredictionRecord]:
    """Return random predictions for posts whose gold does not depend on the seed.

    Args:
        seed: Seed of the predictions.
        posts: Number of posts.
        quality: Share of gold entities whose type is predicted on purpose.
    """
    gold_draws, draws = random.Random(0), random.Random(seed)
    records = []
    for number in range(posts):
        gold = [
            (start, gold_draws.choice(TYPES)) for start in range(4) if gold_draws.random() < 0.5
        ]
        predicted = []
        for start, entity_type in gold:
            is_right = draws.random() < quality
            predicted.append((start, entity_type if is_right else draws.choice(TYPES)))
        for start in range(4):
            if draws.random() < 0.1 and start not in dict(gold):
                predicted.append((start, "PER"))
        records.append(build_record(gold, predicted, str(number)))
    return records
