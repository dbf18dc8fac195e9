"""Exclusion of the program that a test runs in a process of its own."""

collect_ignore = ["fuzz_readers.py"]
