"""Feature cache and the callback that fills it."""

__all__ = [
    "cache",
    "callback",
    "provider",
    "shards",
]
