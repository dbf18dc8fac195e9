"""Corpus readers and the checks on what they read."""

__all__ = [
    "base",
    "card",
    "checks",
    "contexts",
    "crop_index",
    "dataset",
    "digest",
    "editions",
    "frame",
    "jsonl",
    "labels",
    "mnre",
    "own",
    "pairing",
    "rows",
    "statistics",
    "stratification",
    "twitter",
]
