"""Exclusion of the programs that run in processes of their own."""

collect_ignore = ["fuzz_readers.py", "thread_times.py"]
