"""Files of posts for the Ray engine, and their rows."""

import json
from collections.abc import Iterable
from pathlib import Path

from mmie.inference.jobs.ray_rows import read_rows


def write_lines(file: Path, records: Iterable[dict | bytes]) -> None:
    """Write a file of JSON lines; bytes are written as they are."""
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in records]
    file.write_bytes(b"\n".join(lines) + b"\n")


def read_local_rows(file: Path) -> list[dict]:
    """Read the rows of a local file of posts."""
    from pyarrow import fs

    return list(read_rows(fs.LocalFileSystem(), str(file)))
