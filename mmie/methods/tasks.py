"""The two extraction tasks, which decide the head, the predictions and the metric of a method."""

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import compress
from typing import ClassVar, TypeVar

import torch
from torch import Tensor
from torchmetrics import Metric

from mmie.blocks.heads import Head, Pooling, RelationHead, TagHead
from mmie.metrics import RelationF1, SpanF1
from mmie.tags import middle_word, tag_names, tags_to_entities
from mmie.types import Batch, Entity, Prediction, Relation, Schema

_Gold = TypeVar("_Gold")


class ExtractionTask(ABC):
    """Head, predictions and metric of a task.

    Args:
        schema: Labels and tag scheme.
    """

    asks_pairs: ClassVar[bool]
    """Whether there is one prediction for each relation of a post rather than one for the post."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    @property
    @abstractmethod
    def outputs(self) -> tuple[str, ...]:
        """Names of what the head scores, in the order of its rows: tags or relation labels."""

    @abstractmethod
    def build_head(
        self, hidden_size: int, pooling: Pooling, dropout: float, label_smoothing: float = 0.0
    ) -> Head:
        """Build a head for states of width ``hidden_size``.

        Raises:
            ValueError: The task has no label smoothing.
        """

    @abstractmethod
    def build_metric(self) -> Metric:
        """Build an empty metric."""

    @abstractmethod
    def build_predictions(self, batch: Batch, decoded: Tensor) -> list[Prediction]:
        """Convert the tags or labels that the head decoded to predictions."""

    @abstractmethod
    def add_probabilities(
        self, predictions: Sequence[Prediction], confidence: Sequence[Tensor]
    ) -> list[Prediction]:
        """Add the probabilities that `Head.confidence` provides to predictions."""

    def predict(
        self, head: Head, states: Tensor, decoded: Tensor, batch: Batch
    ) -> list[Prediction]:
        """Build predictions with probabilities.

        Args:
            head: The head.
            states: (batch, tokens, hidden)
            decoded: Tags or labels that the head decoded from the states.
            batch: The posts.
        """
        predictions = self.build_predictions(batch, decoded)
        return self.add_probabilities(predictions, head.confidence(states, batch, decoded))

    @abstractmethod
    def calibration_pairs(
        self, batch: Batch, predictions: Sequence[Prediction]
    ) -> tuple[Tensor, Tensor]:
        """Return probability and correctness (1 or 0) of everything predicted, (predictions,) each.

        Copies that are not counted are left out.
        """

    @abstractmethod
    def as_gold(self, batch: Batch, decoded: Tensor) -> Batch:
        """Replace the gold tags or labels of a batch by decoded ones.

        The head's loss is then minus the log probability of the predictions.
        """

    @abstractmethod
    def update_metric(self, metric: Metric, batch: Batch, decoded: Tensor) -> None:
        """Add a batch to a metric, without copies that are not counted."""


class EntityTask(ExtractionTask):
    """Named entity recognition."""

    asks_pairs = False

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the tags."""
        return tag_names(self.schema.labels, self.schema.tag_scheme)

    def build_head(
        self, hidden_size: int, pooling: Pooling, dropout: float, label_smoothing: float = 0.0
    ) -> Head:
        """Build a linear-chain CRF over words, which does not use ``pooling``."""
        if label_smoothing:
            raise ValueError("label_smoothing is for relations: the loss of a CRF has none")
        return TagHead(hidden_size, self.outputs, self.schema.tag_scheme, dropout)

    def build_metric(self) -> Metric:
        """Build a metric of entity-level precision, recall and F1."""
        return SpanF1(self.schema.labels)

    def build_predictions(self, batch: Batch, decoded: Tensor) -> list[Prediction]:
        """Convert tag ids (batch, words) to entities.

        Of a window of a longer post, entities whose middle word belongs to another one are left
        out.
        """
        names = self.outputs
        predictions = []
        cores = [None] * len(batch) if batch.cores is None else batch.cores.tolist()
        for post_id, tag_ids, core in zip(batch.ids, decoded.tolist(), cores, strict=True):
            entities = tags_to_entities([names[tag_id] for tag_id in tag_ids])
            if core is not None:
                entities = [entity for entity in entities if middle_word(entity) in range(*core)]
            predictions.append(Prediction(post_id, entities=tuple(entities)))
        return predictions

    def add_probabilities(
        self, predictions: Sequence[Prediction], confidence: Sequence[Tensor]
    ) -> list[Prediction]:
        """Add the marginal probability of every entity."""
        log_terms = (part.tolist() for part in confidence)  # three of (batch, words)
        completed = []
        for prediction, enter, step, leave in zip(predictions, *log_terms, strict=True):
            probabilities = tuple(
                _span_probability(entity, enter, step, leave) for entity in prediction.entities
            )
            completed.append(replace(prediction, probabilities=probabilities))
        return completed

    def calibration_pairs(
        self, batch: Batch, predictions: Sequence[Prediction]
    ) -> tuple[Tensor, Tensor]:
        """Return probability and correctness of every entity.

        An entity is correct if a gold entity has the same words and type.
        """
        pairs = []
        for prediction, gold in _counted(predictions, batch.entities, batch):
            for entity, probability in zip(
                prediction.entities, prediction.probabilities, strict=True
            ):
                pairs.append((probability, float(entity in gold)))
        return _as_columns(pairs, batch)

    def as_gold(self, batch: Batch, decoded: Tensor) -> Batch:
        """Replace the gold tags by tag ids (batch, words)."""
        return replace(batch, tags=decoded)

    def update_metric(self, metric: Metric, batch: Batch, decoded: Tensor) -> None:
        """Add the predicted and gold entities of a batch to a metric."""
        counted: Sequence[bool] = batch.counted.tolist()
        predicted = [prediction.entities for prediction in self.build_predictions(batch, decoded)]
        metric.update(list(compress(predicted, counted)), list(compress(batch.entities, counted)))


class RelationTask(ExtractionTask):
    """Relation extraction between two given entities."""

    asks_pairs = True

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the relation labels."""
        return self.schema.labels

    def build_head(
        self, hidden_size: int, pooling: Pooling, dropout: float, label_smoothing: float = 0.0
    ) -> Head:
        """Build a linear classifier over a pooled state."""
        num_labels = len(self.schema.labels)
        return RelationHead(hidden_size, num_labels, pooling, dropout, label_smoothing)

    def build_metric(self) -> Metric:
        """Build a metric of accuracy, and of precision, recall and F1 without ``None``."""
        return RelationF1(self.schema.labels)

    def build_predictions(self, batch: Batch, decoded: Tensor) -> list[Prediction]:
        """Convert label ids (batch,) to relations between the given entities."""
        predictions = []
        for post_id, gold, label_id in zip(
            batch.ids, batch.relations, decoded.tolist(), strict=True
        ):
            relation = Relation(gold.head, gold.tail, self.schema.labels[label_id])
            predictions.append(Prediction(post_id, relations=(relation,)))
        return predictions

    def add_probabilities(
        self, predictions: Sequence[Prediction], confidence: Sequence[Tensor]
    ) -> list[Prediction]:
        """Add the probability of every label."""
        (probabilities,) = confidence  # (batch,)
        return [
            replace(prediction, probabilities=(probability,))
            for prediction, probability in zip(predictions, probabilities.tolist(), strict=True)
        ]

    def calibration_pairs(
        self, batch: Batch, predictions: Sequence[Prediction]
    ) -> tuple[Tensor, Tensor]:
        """Return probability and correctness of every label, ``None`` included."""
        pairs = []
        for prediction, gold in _counted(predictions, batch.relations, batch):
            is_correct = prediction.relations[0].label == gold.label
            pairs.append((prediction.probabilities[0], float(is_correct)))
        return _as_columns(pairs, batch)

    def as_gold(self, batch: Batch, decoded: Tensor) -> Batch:
        """Replace the gold labels by label ids (batch,)."""
        return replace(batch, labels=decoded)

    def update_metric(self, metric: Metric, batch: Batch, decoded: Tensor) -> None:
        """Add the predicted and gold labels of a batch to a metric.

        Raises:
            ValueError: The batch has no gold labels.
        """
        if batch.labels is None:
            raise ValueError(
                "the batch has no gold labels: was the data module set up for the task re?"
            )
        metric.update(decoded[batch.counted], batch.labels[batch.counted])


def build_task(schema: Schema) -> ExtractionTask:
    """Build the task that the data module was set up for."""
    return EntityTask(schema) if schema.task == "ner" else RelationTask(schema)


def _counted(
    predictions: Sequence[Prediction], gold: Sequence[_Gold], batch: Batch
) -> Iterator[tuple[Prediction, _Gold]]:
    """Yield predictions with their gold, without copies that are not counted."""
    pairs = zip(predictions, gold, strict=True)
    return compress(pairs, batch.counted.tolist())


def _as_columns(pairs: Sequence[tuple[float, float]], batch: Batch) -> tuple[Tensor, Tensor]:
    """Convert pairs to two vectors (pairs,) on the batch's device."""
    table = torch.tensor(pairs, device=batch.index.device).view(-1, 2)  # (pairs, 2)
    return table[:, 0], table[:, 1]


def _span_probability(
    entity: Entity, enter: Sequence[float], step: Sequence[float], leave: Sequence[float]
) -> float:
    """Compute an entity's marginal probability from the log terms at each word.

    See `ConstrainedCRF.span_probabilities` for the terms.
    """
    first = entity.start
    last = entity.end - 1
    log_probability = enter[first] + sum(step[first + 1 : entity.end]) + leave[last]
    # rounding can take it above 0
    return math.exp(min(0.0, log_probability))
