"""Reports on run folders and checkpoints: comparisons, diagnoses, studies, tables of methods."""

__all__ = [
    "certificate",
    "charts",
    "comparison",
    "corpora",
    "dashboard",
    "diagnosis",
    "imported",
    "method_classes",
    "method_tables",
    "methods",
    "pictures",
    "rendering",
    "significance",
    "statistics",
    "study",
    "training_mentions",
]
