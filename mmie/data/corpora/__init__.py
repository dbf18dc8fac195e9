"""Corpus readers and the checks on what they read."""

__all__ = [
    "base",
    "card",
    "checks",
    "contexts",
    "crop_index",
    "digest",
    "editions",
    "jsonl",
    "labels",
    "mnre",
    "pairing",
    "statistics",
    "twitter",
]
