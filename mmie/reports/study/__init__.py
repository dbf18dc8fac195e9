"""Study reports: low-resource, cross-task and cross-domain."""

__all__ = [
    "page",
    "study",
]
