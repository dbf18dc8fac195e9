"""Scores of entities and relations: pure functions, torchmetrics classes over them, and tests of significance."""

from mmie.metrics.bootstrap import BootstrapResult, approximate_randomization, paired_bootstrap
from mmie.metrics.calibration import TEMPERATURES, BestTemperature, CalibrationError
from mmie.metrics.functional import (
    Scores,
    accuracy_counts,
    micro,
    per_type,
    relation_confusion,
    relation_counts,
    relation_counts_per_post,
    scores,
    span_counts,
    span_counts_per_post,
    span_type_confusion,
)
from mmie.metrics.modules import RelationF1, SpanF1

__all__ = [
    "TEMPERATURES",
    "BestTemperature",
    "BootstrapResult",
    "CalibrationError",
    "RelationF1",
    "Scores",
    "SpanF1",
    "accuracy_counts",
    "approximate_randomization",
    "micro",
    "paired_bootstrap",
    "per_type",
    "relation_confusion",
    "relation_counts",
    "relation_counts_per_post",
    "scores",
    "span_counts",
    "span_counts_per_post",
    "span_type_confusion",
]
