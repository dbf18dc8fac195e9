"""Comparison report over several runs."""
