"""Results of the papers' studies: low resource, cross-task and cross-domain."""

__all__ = ["page", "points", "study"]
