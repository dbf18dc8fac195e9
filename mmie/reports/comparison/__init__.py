"""Comparison of systems over their runs: scores, significance, cost, slices and disagreements."""

__all__ = [
    "disagreements",
    "groups",
    "insight",
    "method_row",
    "page",
    "picture_sentence",
    "report",
    "slices",
    "summary",
]
