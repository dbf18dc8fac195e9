"""Diagnosis of one checkpoint: the numbers behind its predictions for a post or a split."""

__all__ = ["diagnosis", "figures", "page", "post", "scatter", "split", "target"]
