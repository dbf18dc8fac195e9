"""Helpers that know nothing about posts: files, devices, ranks, optional packages, text."""

__all__ = [
    "configurations",
    "devices",
    "distributed",
    "files",
    "late_imports",
    "locks",
    "model_names",
    "optional",
    "pages",
    "partial_files",
    "plugins",
    "prefetch",
    "processes",
    "references",
    "signals",
    "terminal",
    "text",
    "version",
    "wording",
]
