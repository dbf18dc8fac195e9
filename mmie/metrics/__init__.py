"""Scores of entities and relations, torchmetrics classes over them, and significance tests."""

from typing import TYPE_CHECKING

import mmie.utils.late_imports as late_imports
from mmie.metrics.bootstrap import (
    BootstrapResult,
    approximate_randomization,
    bootstrap_totals,
    micro_f1,
    paired_bootstrap,
)
from mmie.metrics.exchange import (
    ExchangeBlocks,
    exchange_p_values,
    mean_of_others,
    needed_answers,
    share_needing,
)
from mmie.metrics.relations import (
    accuracy_counts,
    relation_confusion,
    relation_counts,
    relation_counts_per_instance,
)
from mmie.metrics.scores import PrecisionRecallF1, micro, per_type, precision_recall_f1
from mmie.metrics.seed_bootstrap import seed_bootstrap, smallest_p_value
from mmie.metrics.spans import span_counts, span_counts_per_post, span_type_confusion

if TYPE_CHECKING:
    from mmie.metrics.calibration import TEMPERATURES, BestTemperature, CalibrationError
    from mmie.metrics.modules import RelationF1, SpanF1

__all__ = [
    "TEMPERATURES",
    "BestTemperature",
    "BootstrapResult",
    "CalibrationError",
    "ExchangeBlocks",
    "PrecisionRecallF1",
    "RelationF1",
    "SpanF1",
    "accuracy_counts",
    "approximate_randomization",
    "bootstrap_totals",
    "exchange_p_values",
    "mean_of_others",
    "micro",
    "micro_f1",
    "needed_answers",
    "paired_bootstrap",
    "per_type",
    "precision_recall_f1",
    "relation_confusion",
    "relation_counts",
    "relation_counts_per_instance",
    "seed_bootstrap",
    "share_needing",
    "smallest_p_value",
    "span_counts",
    "span_counts_per_post",
    "span_type_confusion",
]

# These need torchmetrics; reports do without.
__getattr__ = late_imports.late_getattr(
    __name__,
    {
        "TEMPERATURES": "mmie.metrics.calibration",
        "BestTemperature": "mmie.metrics.calibration",
        "CalibrationError": "mmie.metrics.calibration",
        "RelationF1": "mmie.metrics.modules",
        "SpanF1": "mmie.metrics.modules",
    },
)
