"""Diagnosis of one checkpoint: why it predicts what it predicts."""

__all__ = [
    "diagnosis",
    "figures",
    "page",
    "post",
    "split",
]
