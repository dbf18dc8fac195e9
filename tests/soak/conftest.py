"""Exclusion of programs that are run in processes of their own."""

collect_ignore = ["attack_server.py", "fuzz_readers.py"]
