"""torchmetrics classes over the pure functions of this package, exact under DDP.

Their only states are integer counts, summed over ranks, so that scores do not depend on the number
of processes. Scores are computed in double precision and returned as float32 scalars for logging;
``micro(metric.counts)`` has full precision.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from mmie.metrics.relations import accuracy_counts, relation_counts
from mmie.metrics.scores import PrecisionRecallF1, micro, per_type
from mmie.metrics.spans import span_counts
from mmie.types import NO_RELATION, Entity


class _CountMetric(Metric):
    """Metric whose states are counts.

    Attributes:
        counts: (names + 1, 3) true positives, predicted, gold; the last row is for items without a
            name.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    counts: Tensor

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self.names = tuple(names)
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"a type or label is named twice: {', '.join(self.names)}")
        counts = torch.zeros(len(self.names) + 1, 3, dtype=torch.int64)
        self.add_state("counts", counts, dist_reduce_fx="sum")

    @property
    def update_called(self) -> bool:
        """Always True, because a rank without posts is no reason for a warning."""
        return True

    def _scalars(
        self,
        overall: PrecisionRecallF1,
        by_name: Mapping[str, PrecisionRecallF1],
        **others: float,
    ) -> dict[str, Tensor]:
        """Return scores as float32 scalars under the names that logs and reports use."""
        values = {"f1": overall.f1, "precision": overall.precision, "recall": overall.recall}
        for name, scores in by_name.items():
            values[f"f1/{name}"] = scores.f1
        values.update(others)
        scalars = {}
        for key, value in values.items():
            scalars[key] = torch.tensor(value, dtype=torch.float32, device=self.device)
        return scalars


class SpanF1(_CountMetric):
    """Precision, recall and F1 of entities, equal to seqeval's default mode.

    Entities of types that are not in ``types`` count in the overall scores.

    Args:
        types: Entity types to score one by one.

    Raises:
        ValueError: A type is named twice.

    >>> metric = SpanF1(["PER", "LOC"])
    >>> metric.update([[Entity(0, 1, "PER")]], [[Entity(0, 1, "PER"), Entity(2, 3, "LOC")]])
    >>> {key: round(value.item(), 2) for key, value in metric.compute().items()}
    {'f1': 0.67, 'precision': 1.0, 'recall': 0.5, 'f1/PER': 1.0, 'f1/LOC': 0.0}
    """

    def __init__(self, types: Sequence[str]) -> None:
        super().__init__(types)

    def update(
        self, predicted: Sequence[Sequence[Entity]], gold: Sequence[Sequence[Entity]]
    ) -> None:
        """Count the entities of some posts.

        Args:
            predicted: Entities predicted for each post.
            gold: Gold entities of the same posts.

        Raises:
            ValueError: The numbers of posts differ.
        """
        self.counts += span_counts(predicted, gold, self.names).to(self.counts.device)

    def retract(self, entity: Entity, is_correct: bool) -> None:
        """Take back a predicted entity that has been counted.

        Args:
            entity: The entity.
            is_correct: Whether it was counted as a gold entity, too.
        """
        counts = span_counts([[entity]], [[entity] if is_correct else []], self.names)
        counts[:, 2] = 0  # its gold entity stays
        self.counts -= counts.to(self.counts.device)

    def compute(self) -> dict[str, Tensor]:
        """Return scalars ``f1``, ``precision``, ``recall`` over all types, and ``f1/<type>``."""
        return self._scalars(micro(self.counts), per_type(self.counts, self.names))


class RelationF1(_CountMetric):
    """Precision, recall and F1 of relations over all labels but ``None``, and accuracy over all.

    Args:
        labels: Relation labels in order of their ids, with or without ``None``.

    Attributes:
        decided: (2,) correct instances and all instances.

    Raises:
        ValueError: A label is named twice.

    >>> metric = RelationF1(["None", "at", "peer"])
    >>> metric.update(torch.tensor([1, 0, 2]), torch.tensor([1, 2, 0]))
    >>> {key: round(value.item(), 2) for key, value in metric.compute().items()}
    {'f1': 0.5, 'precision': 0.5, 'recall': 0.5, 'f1/at': 1.0, 'f1/peer': 0.0, 'accuracy': 0.33}
    """

    decided: Tensor

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(labels)
        self.none_index = self.names.index(NO_RELATION) if NO_RELATION in self.names else None
        self.add_state("decided", torch.zeros(2, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predicted: Tensor, gold: Tensor) -> None:
        """Count the relations of a batch.

        Args:
            predicted: (batch,) label ids.
            gold: (batch,) label ids; -1 is a relation whose label is unknown to the model.

        Raises:
            ValueError: The shapes differ, or an id is no label.
        """
        counts = relation_counts(predicted, gold, len(self.names), self.none_index)
        self.counts += counts.to(self.counts.device)
        self.decided += accuracy_counts(predicted, gold).to(self.decided.device)

    def compute(self) -> dict[str, Tensor]:
        """Return scalars ``f1``, ``precision``, ``recall``, ``f1/<label>`` and ``accuracy``.

        ``None`` has no ``f1/<label>``.
        """
        by_label = per_type(self.counts, self.names)
        by_label.pop(NO_RELATION, None)
        correct, total = self.decided.tolist()
        accuracy = correct / total if total else 0.0
        return self._scalars(micro(self.counts), by_label, accuracy=accuracy)
