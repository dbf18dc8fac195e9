"""Sweeps, studies and benchmarks."""
