"""Counts of entities, with the columns of `mmie.metrics.scores`."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from mmie.types import Entity


def span_counts(
    predicted: Sequence[Sequence[Entity]], gold: Sequence[Sequence[Entity]], types: Sequence[str]
) -> Tensor:
    """Count entities per type.

    A predicted entity is a true positive if a gold one has the same words and the same type.

    Args:
        predicted: Entities of each post; one that occurs twice in a post counts once, as in
            seqeval.
        gold: Gold entities of the same posts.
        types: Entity types that get a row of their own.

    Returns:
        (types + 1, 3) counts; the last row is for all other types together.

    Raises:
        ValueError: The numbers of posts differ, or a type is named twice.
    """
    rows = _rows_by_type(types)
    counts = [[0, 0, 0] for _ in range(len(types) + 1)]
    for predicted_set, gold_set in _pair_posts(predicted, gold):
        columns = (predicted_set & gold_set, predicted_set, gold_set)
        for column, entities in enumerate(columns):
            for entity in entities:
                row = rows.get(entity.type, len(types))
                counts[row][column] += 1
    return torch.tensor(counts)


def span_counts_per_post(
    predicted: Sequence[Sequence[Entity]], gold: Sequence[Sequence[Entity]]
) -> Tensor:
    """Count entities per post, all types together, (posts, 3).

    Raises:
        ValueError: The numbers of posts differ.

    >>> per = Entity(0, 1, "PER")
    >>> span_counts_per_post([[per], []], [[per], [Entity(2, 3, "LOC")]]).tolist()
    [[1, 1, 1], [0, 0, 1]]
    """
    counts = []
    for predicted_set, gold_set in _pair_posts(predicted, gold):
        counts.append((len(predicted_set & gold_set), len(predicted_set), len(gold_set)))
    return torch.tensor(counts, dtype=torch.int64).view(len(counts), 3)


def span_type_confusion(
    predicted: Sequence[Sequence[Entity]], gold: Sequence[Sequence[Entity]], types: Sequence[str]
) -> Tensor:
    """Count how often a gold type (row) got a predicted type (column), over equal spans.

    Args:
        predicted: Entities of each post, no two of them over the same words.
        gold: Gold entities of the same posts, likewise.
        types: Entity types; entities of any other type are left out.

    Returns:
        (types + 1, types + 1) counts; the last column is gold spans that nothing was predicted for,
        the last row is predicted spans that are not gold.

    Raises:
        ValueError: The numbers of posts differ, or a type is named twice.
    """
    rows = _rows_by_type(types)
    confusion = torch.zeros(len(types) + 1, len(types) + 1, dtype=torch.int64)
    for predicted_set, gold_set in _pair_posts(predicted, gold):
        predicted_types = _types_by_span(predicted_set, rows)
        gold_types = _types_by_span(gold_set, rows)
        for span in predicted_types.keys() | gold_types.keys():
            row = gold_types.get(span, len(types))
            column = predicted_types.get(span, len(types))
            confusion[row, column] += 1
    return confusion


def _pair_posts(
    predicted: Sequence[Sequence[Entity]], gold: Sequence[Sequence[Entity]]
) -> Iterator[tuple[set[Entity], set[Entity]]]:
    """Return predicted and gold entities of each post as sets."""
    if len(predicted) != len(gold):
        raise ValueError(
            f"predictions for {len(predicted)} posts, gold for {len(gold)}: "
            "give both for the same posts"
        )
    return zip(map(set, predicted), map(set, gold), strict=True)


def _rows_by_type(types: Sequence[str]) -> dict[str, int]:
    """Return the row of each entity type."""
    rows = {name: row for row, name in enumerate(types)}
    if len(rows) != len(types):
        raise ValueError(f"an entity type is named twice: {', '.join(types)}")
    return rows


def _types_by_span(entities: set[Entity], rows: dict[str, int]) -> dict[tuple[int, int], int]:
    """Return the row of the type of each entity by its span, if the type has a row."""
    types = {}
    for entity in entities:
        if entity.type in rows:
            types[entity.start, entity.end] = rows[entity.type]
    return types
