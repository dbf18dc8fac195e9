"""What is run by a test, in a process of its own, and not collected."""

collect_ignore = ["fuzz_readers.py"]
