"""Corpus readers and the checks on what they read."""
