"""Results of the papers' studies: shares, tasks and corpora, and variations of a method."""

__all__ = ["page", "points", "study"]
