"""Helpers that know nothing about posts: files, devices, ranks, optional packages, text."""

__all__ = [
    "devices",
    "distributed",
    "files",
    "optional",
    "prefetch",
    "references",
    "terminal",
    "text",
    "version",
]
