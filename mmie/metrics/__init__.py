"""Scores of entities and relations, torchmetrics classes over them, and significance tests."""

from mmie.metrics.bootstrap import BootstrapResult, approximate_randomization, paired_bootstrap
from mmie.metrics.calibration import TEMPERATURES, BestTemperature, CalibrationError
from mmie.metrics.modules import RelationF1, SpanF1
from mmie.metrics.relations import (
    accuracy_counts,
    relation_confusion,
    relation_counts,
    relation_counts_per_instance,
)
from mmie.metrics.scores import PrecisionRecallF1, micro, per_type, precision_recall_f1
from mmie.metrics.spans import span_counts, span_counts_per_post, span_type_confusion

__all__ = [
    "TEMPERATURES",
    "BestTemperature",
    "BootstrapResult",
    "CalibrationError",
    "PrecisionRecallF1",
    "RelationF1",
    "SpanF1",
    "accuracy_counts",
    "approximate_randomization",
    "micro",
    "paired_bootstrap",
    "per_type",
    "precision_recall_f1",
    "relation_confusion",
    "relation_counts",
    "relation_counts_per_instance",
    "span_counts",
    "span_counts_per_post",
    "span_type_confusion",
]
