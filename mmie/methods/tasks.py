"""The two tasks: what head a method gets, how its answers are read and scored. Nothing else knows the task."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from itertools import compress
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from mmie.blocks.heads import Head, Pooling, RelationHead, TagHead
from mmie.metrics import RelationF1, SpanF1
from mmie.tags import tag_names, tags_to_entities
from mmie.types import Batch, Entity, Prediction, Relation, Schema


class ExtractionTask(ABC):
    """What is asked of a post.

    Args:
        schema: Labels and tag scheme.
    """

    asks_pairs: ClassVar[bool]
    """Whether a post is asked about once for each of its relations, or once."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    @abstractmethod
    def build_head(self, hidden_size: int, pooling: Pooling, dropout: float) -> Head:
        """A head for states of width ``hidden_size``."""

    @abstractmethod
    def build_metric(self) -> Metric:
        """An empty metric."""

    @abstractmethod
    def predictions(self, batch: Batch, decoded: Tensor) -> list[Prediction]:
        """Answers for a batch, from what the head decoded."""

    @abstractmethod
    def with_probabilities(
        self, predictions: Sequence[Prediction], parts: Sequence[Tensor]
    ) -> list[Prediction]:
        """The answers with their probabilities, from what `Head.confidence` gives."""

    @abstractmethod
    def judge(self, batch: Batch, predictions: Sequence[Prediction]) -> tuple[Tensor, Tensor]:
        """Probabilities of all that was answered, and whether it is right (1) or not (0); copies are left out."""

    @abstractmethod
    def as_gold(self, batch: Batch, decoded: Tensor) -> Batch:
        """The batch as if what the head decoded were right: its loss is then minus the answers' log probability."""

    @abstractmethod
    def score(self, metric: Metric, batch: Batch, decoded: Tensor) -> None:
        """Add a batch to a metric, copies that are not counted left out."""


class EntityTask(ExtractionTask):
    """Named entity recognition."""

    asks_pairs = False

    def build_head(self, hidden_size: int, pooling: Pooling, dropout: float) -> Head:
        """Linear-chain CRF over words; ``pooling`` is the relation head's."""
        tags = tag_names(self.schema.labels, self.schema.tag_scheme)
        return TagHead(hidden_size, tags, self.schema.tag_scheme, dropout)

    def build_metric(self) -> Metric:
        """Entity-level precision, recall and F1."""
        return SpanF1(self.schema.labels)

    def predictions(self, batch: Batch, decoded: Tensor) -> list[Prediction]:
        """Entities that the tags (batch, words) spell."""
        names = tag_names(self.schema.labels, self.schema.tag_scheme)
        rows = decoded.tolist()
        spelled = (tuple(tags_to_entities([names[tag] for tag in row])) for row in rows)
        return [
            Prediction(post, entities=found) for post, found in zip(batch.ids, spelled, strict=True)
        ]

    def with_probabilities(
        self, predictions: Sequence[Prediction], parts: Sequence[Tensor]
    ) -> list[Prediction]:
        """The answers with the marginal probability of every entity."""
        rows = zip(predictions, *(part.tolist() for part in parts), strict=True)
        return [
            replace(
                prediction,
                probabilities=tuple(_probability(entity, *logs) for entity in prediction.entities),
            )
            for prediction, *logs in rows
        ]

    def judge(self, batch: Batch, predictions: Sequence[Prediction]) -> tuple[Tensor, Tensor]:
        """An entity is right if gold has one of its words and type."""
        found = [
            (probability, float(entity in gold))
            for prediction, gold, counted in zip(
                predictions, batch.entities, batch.counted.tolist(), strict=True
            )
            for entity, probability in zip(
                prediction.entities, prediction.probabilities, strict=True
            )
            if counted
        ]
        return _columns(found, batch)

    def as_gold(self, batch: Batch, decoded: Tensor) -> Batch:
        """The batch with these tags (batch, words)."""
        return replace(batch, tags=decoded)

    def score(self, metric: Metric, batch: Batch, decoded: Tensor) -> None:
        """Count exact matches of words and type."""
        counted: Sequence[bool] = batch.counted.tolist()
        found = [prediction.entities for prediction in self.predictions(batch, decoded)]
        metric.update(list(compress(found, counted)), list(compress(batch.entities, counted)))


class RelationTask(ExtractionTask):
    """Relation extraction between two given entities."""

    asks_pairs = True

    def build_head(self, hidden_size: int, pooling: Pooling, dropout: float) -> Head:
        """Linear classifier over a pooled state."""
        return RelationHead(hidden_size, len(self.schema.labels), pooling, dropout)

    def build_metric(self) -> Metric:
        """Precision, recall and F1 over all relations but ``None``, and accuracy."""
        return RelationF1(self.schema.labels)

    def predictions(self, batch: Batch, decoded: Tensor) -> list[Prediction]:
        """The relation that the label (batch,) names, between the entities asked about."""
        labels = [self.schema.labels[label] for label in decoded.tolist()]
        return [
            Prediction(post, relations=(Relation(gold.head, gold.tail, label),))
            for post, gold, label in zip(batch.ids, batch.relations, labels, strict=True)
        ]

    def with_probabilities(
        self, predictions: Sequence[Prediction], parts: Sequence[Tensor]
    ) -> list[Prediction]:
        """The answers with the probability of their label."""
        (probabilities,) = parts
        pairs = zip(predictions, probabilities.tolist(), strict=True)
        return [
            replace(prediction, probabilities=(probability,)) for prediction, probability in pairs
        ]

    def judge(self, batch: Batch, predictions: Sequence[Prediction]) -> tuple[Tensor, Tensor]:
        """A label is right if it is gold's, ``None`` included."""
        said = [
            (prediction.probabilities[0], float(prediction.relations[0].label == gold.label))
            for prediction, gold, counted in zip(
                predictions, batch.relations, batch.counted.tolist(), strict=True
            )
            if counted
        ]
        return _columns(said, batch)

    def as_gold(self, batch: Batch, decoded: Tensor) -> Batch:
        """The batch with these labels (batch,)."""
        return replace(batch, labels=decoded)

    def score(self, metric: Metric, batch: Batch, decoded: Tensor) -> None:
        """Count right labels."""
        if batch.labels is None:
            raise ValueError(
                "the batch has no gold labels: was the data module set up for the task re?"
            )
        metric.update(decoded[batch.counted], batch.labels[batch.counted])


def _columns(rows: Sequence[tuple[float, float]], batch: Batch) -> tuple[Tensor, Tensor]:
    """The rows' columns, on the batch's device."""
    table = torch.tensor(rows, device=batch.index.device).view(-1, 2)
    return table[:, 0], table[:, 1]


def _probability(
    entity: Entity, enter: list[float], step: list[float], leave: list[float]
) -> float:
    """Marginal probability of an entity, from log terms at each word: see `ConstrainedCRF.span_probabilities`."""
    first, last = entity.start, entity.end - 1
    return math.exp(min(0.0, enter[first] + sum(step[first + 1 : entity.end]) + leave[last]))


def build_task(schema: Schema) -> ExtractionTask:
    """The task that the data module was set up for."""
    return EntityTask(schema) if schema.task == "ner" else RelationTask(schema)
