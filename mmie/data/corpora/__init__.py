"""Corpus readers and the checks on what they read."""

__all__ = [
    "base",
    "checks",
    "contexts",
    "crop_index",
    "editions",
    "jsonl",
    "labels",
    "mnre",
    "statistics",
    "twitter",
]
