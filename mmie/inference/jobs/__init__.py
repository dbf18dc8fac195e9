"""Extraction jobs, on this machine or on a Ray cluster."""

__all__ = [
    "job_files",
    "kept_keys",
    "local",
    "progress",
    "ray_cluster",
    "ray_engine",
    "ray_rows",
    "ray_shards",
]
