"""Reading of W&B runs that are kept on disk."""

import json
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record, RunRecord

BLOCK_SIZE = 2**15
HEADER_SIZE = 7
"""Size of a file's header and of each record's header, in bytes."""
WHOLE, LAST_PART = 1, 4
"""Types of parts that end a record."""


def read_wandb_runs(folder: Path, seconds: float = 20) -> list[list[Record]]:
    """Return the records of each W&B run under a folder, in the order of their start.

    W&B writes the last record of a run shortly after the run has ended.
    """
    files = sorted(folder.glob("wandb/offline-run-*/*.wandb"))
    deadline = time.monotonic() + seconds
    while True:
        runs = [list(_read_records(file)) for file in files]
        ended = [any(record.HasField("exit") for record in run) for run in runs]
        if all(ended):
            return runs
        assert time.monotonic() < deadline, "a W&B run has not ended"
        time.sleep(0.05)


def _read_records(file: Path) -> Iterator[Record]:
    """Yield the records of a run, as far as they are written.

    The format is LevelDB's log: blocks of parts, which have a header of checksum, size and type. A
    record may be split at the end of a block.
    """
    content = file.read_bytes()
    position = HEADER_SIZE
    record = b""
    while position + HEADER_SIZE <= len(content):
        left_in_block = BLOCK_SIZE - position % BLOCK_SIZE
        if left_in_block < HEADER_SIZE:
            position += left_in_block
            continue
        start = position + HEADER_SIZE
        size, kind = struct.unpack("<HB", content[position + 4 : start])
        if start + size > len(content):  # this part is still being written
            return
        record += content[start : start + size]
        position = start + size
        if kind in (WHOLE, LAST_PART):
            yield Record.FromString(record)
            record = b""


def _values(items: Iterable[Any]) -> dict[str, Any]:
    """Return the values of items by dotted name."""
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def run_header(records: Iterable[Record]) -> RunRecord:
    """Return the record that names the run, its project and its group."""
    return next(record.run for record in records if record.HasField("run"))


def run_config(records: Iterable[Record]) -> dict[str, Any]:
    """Return the run's configuration."""
    config = {}
    for record in records:
        config.update(_values(record.config.update))
    return config


def run_summary(records: Iterable[Record]) -> dict[str, Any]:
    """Return the values of the run's summary."""
    summary = {}
    for record in records:
        summary.update(_values(record.summary.update))
    return summary


def run_history(records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the values of each step of the run."""
    return [_values(record.history.item) for record in records if record.HasField("history")]


def run_table(folder: Path, records: Iterable[Record], name: str) -> list[dict[str, Any]]:
    """Return the rows of a table that the run has logged.

    Args:
        folder: Folder that W&B writes under.
        records: Records of the run.
        name: Name of the table.
    """
    key = f"{name}.path"
    (path,) = [row[key] for row in run_history(records) if key in row]
    (file,) = folder.glob(f"wandb/offline-run-*/files/{path}")
    content = json.loads(file.read_text())
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
