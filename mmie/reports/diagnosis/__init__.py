"""Diagnosis of one checkpoint: why it predicts what it predicts."""
