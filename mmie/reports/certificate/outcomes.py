"""Counts of the answers with the right pictures and with those of other posts."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from mmie.data.instances import Instance
from mmie.experiments.picture_exchange import ExchangedPredictions
from mmie.metrics import mean_of_others, needed_answers
from mmie.runs import PredictionRecord
from mmie.types import NO_RELATION, Entity, Prediction, Relation

ALL = "all answers"
"""Name of the part that holds all answers."""


class Axis(NamedTuple):
    """Property that divides answers into parts.

    Attributes:
        title: Its title.
        names: Names of the parts, in order.
        bucket: Returns the part of an entity of an instance.
    """

    title: str
    names: tuple[str, ...]
    bucket: Callable[[PredictionRecord, Entity], str]


class Part(NamedTuple):
    """Part of the answers.

    Attributes:
        title: Title of the axis, empty for all answers.
        name: Name of the part.
    """

    title: str
    name: str


@dataclass(frozen=True, slots=True)
class ExchangeRecords:
    """Records of an instance at each shift of its block.

    Attributes:
        picture: Index of its picture; None without one.
        right: The record with the right picture.
        others: The records with other pictures, empty without a picture.
    """

    picture: int | None
    right: PredictionRecord
    others: tuple[PredictionRecord, ...]

    def found(self, entity: Entity) -> list[bool]:
        """Tell whether an entity is predicted, first with the right picture, then with others."""
        return [entity in record.predicted for record in (self.right, *self.others)]


@dataclass(frozen=True, slots=True)
class PictureOutcomes:
    """Counts of true positives, predicted and gold answers in each part.

    Attributes:
        parts: The parts.
        counts: (pictures, shifts, parts, 3) of the posts of each picture.
        fixed: (posts, parts, 3) of each post without a picture.
        needs: (pictures, parts, 2) sums of `mmie.metrics.needed_answers` over gold answers.
    """

    parts: tuple[Part, ...]
    counts: Tensor
    fixed: Tensor
    needs: Tensor

    @classmethod
    def count(
        cls,
        exchanged: ExchangedPredictions,
        records: Sequence[ExchangeRecords],
        axes: Sequence[Axis],
    ) -> Self:
        """Count the answers of all instances, in parts that have gold answers."""
        parts = number_parts(records, axes)
        blocks = exchanged.blocks
        posts_without = [entry.right.id for entry in records if entry.picture is None]
        rows = {post: row for row, post in enumerate(dict.fromkeys(posts_without))}
        num_parts = len(parts)
        shape = (blocks.num_pictures, blocks.num_shifts, num_parts, 3)
        counts = np.zeros(shape)
        fixed = np.zeros((len(rows), num_parts, 3))
        needs = np.zeros((blocks.num_pictures, num_parts, 2))
        for entry in records:
            if entry.picture is None:
                _add_counts(fixed[rows[entry.right.id]], entry.right, parts, axes)
                continue
            for shift, record in enumerate((entry.right, *entry.others)):
                _add_counts(counts[entry.picture, shift], record, parts, axes)
            for entity in dict.fromkeys(entry.right.gold):
                sums = needed_answers(torch.tensor(entry.found(entity)).long())
                for part in _parts_of(entry.right, entity, axes):
                    needs[entry.picture, parts[part]] += sums
        return cls(tuple(parts), *map(torch.from_numpy, (counts, fixed, needs)))

    def clusters(self, exchanged: ExchangedPredictions) -> Tensor:
        """Return the values of the posts of each picture, and of each post without one.

        Returns:
            (clusters, parts, 7) counts with the right pictures, with others, and needs, without
            the gold answers of the second.
        """
        right = self.counts[:, 0]  # (pictures, parts, 3)
        others = mean_of_others(self.counts, exchanged.blocks)[..., :2]  # (pictures, parts, 2)
        with_picture = torch.cat([right, others, self.needs], dim=2)  # (pictures, parts, 7)
        no_needs = self.fixed.new_zeros(*self.fixed.shape[:2], 2)
        without = torch.cat([self.fixed, self.fixed[..., :2], no_needs], dim=2)
        return torch.cat([with_picture, without])


def exchange_records(exchanged: ExchangedPredictions) -> list[ExchangeRecords]:
    """Build the records of each instance at each shift."""
    entries = []
    for index, instance in enumerate(exchanged.instances):
        records = []
        for predictions in exchanged.predictions:
            prediction = predictions[index]
            if prediction is not None:
                records.append(build_record(instance, prediction))
        entries.append(ExchangeRecords(exchanged.pictures[index], records[0], tuple(records[1:])))
    return entries


def build_record(instance: Instance, prediction: Prediction) -> PredictionRecord:
    """Build the record of a prediction in the form that both tasks share."""
    post, relation = instance.post, instance.relation
    image = None if post.image is None else str(post.image)
    if relation is None:
        return PredictionRecord(post.id, post.words, image, post.entities, prediction.entities)
    (predicted,) = prediction.relations
    gold, answer = _as_entities(relation), _as_entities(predicted)
    arguments = (relation.head, relation.tail)
    return PredictionRecord(post.id, post.words, image, gold, answer, arguments)


def number_parts(records: Sequence[ExchangeRecords], axes: Sequence[Axis]) -> dict[Part, int]:
    """Assign numbers to the parts that have gold answers, beginning with all answers."""
    present: set[Part] = set()
    for entry in records:
        for entity in entry.right.gold:
            present.update(_parts_of(entry.right, entity, axes))
    ordered = [Part("", ALL)]
    for axis in axes:
        ordered += [part for name in axis.names if (part := Part(axis.title, name)) in present]
    return {part: index for index, part in enumerate(ordered)}


def _add_counts(
    counts: npt.NDArray[np.float64],
    record: PredictionRecord,
    parts: Mapping[Part, int],
    axes: Sequence[Axis],
) -> None:
    """Add the answers of a record to the counts of each part, (parts, 3)."""
    predicted, gold = set(record.predicted), set(record.gold)
    for column, entities in enumerate((predicted & gold, predicted, gold)):
        for entity in entities:
            for part in _parts_of(record, entity, axes):
                if part in parts:
                    counts[parts[part], column] += 1


def _parts_of(record: PredictionRecord, entity: Entity, axes: Sequence[Axis]) -> Iterator[Part]:
    """Yield the parts that an entity of a record belongs to."""
    own_parts = (Part(axis.title, axis.bucket(record, entity)) for axis in axes)
    return chain([Part("", ALL)], own_parts)


def _as_entities(relation: Relation) -> tuple[Entity, ...]:
    """Convert a relation to an entity over its head, or to none if its label is ``None``."""
    if relation.label == NO_RELATION:
        return ()
    return (Entity(relation.head.start, relation.head.end, relation.label),)
