"""Comparison report over several runs."""

__all__ = [
    "disagreements",
    "groups",
    "insight",
    "page",
    "report",
    "slices",
    "summary",
]
