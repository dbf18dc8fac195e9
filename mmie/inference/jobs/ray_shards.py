"""Folder of the results of a resumable Ray job, on this machine or in object storage.

===========================  ====================================================================
file                         content
===========================  ====================================================================
``part-00000-00000.parquet`` a shard: consecutive rows of one file of posts, named by the number of
                             that file and of the shard in it, so that sorted names are in order
``_progress.json``           settings, size and time of change of the files of posts, the SHA-256 of
                             each shard, and a checksum of all this
``_SUCCESS``                 empty file that marks the results as complete
===========================  ====================================================================

Readers of Parquet ignore names that begin with ``_``. Shards are written in the order of the posts,
each under a temporary name first. A job that starts again checks the recorded shards and begins
behind the last one. A shard holds whole windows of posts, so that the windows behind it, and
therefore the numbers, are those of an unbroken job.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from mmie.data.sources import SourceError
from mmie.inference.jobs.job_files import JobError
from mmie.utils.files import digest_values
from mmie.utils.optional import require
from mmie.utils.text import first_line

SUCCESS = "_SUCCESS"
"""Empty file beside the results that marks them as complete."""
PROGRESS = "_progress.json"
"""Record of the shards that are written."""
FILE = "file"
"""Column of the number of a row's file of posts, which shards do not keep."""
_CHECKSUM = "sha256"
_ANEW = "remove the folder to begin anew"


class ResultFile(NamedTuple):
    """File of results.

    Attributes:
        name: Its name.
        file: Number of the file of posts.
        rows: Number of its rows.
        sha256: SHA-256 of its content.
    """

    name: str
    file: int
    rows: int
    sha256: str


class Position(NamedTuple):
    """Place in the files of posts.

    Attributes:
        file: Number of a file.
        row: Number of rows before the place in this file.
    """

    file: int
    row: int


class ShardFolder:
    """Results of a Ray job.

    Args:
        filesystem: File system of ``pyarrow``.
        path: Folder there.
        identity: Settings that the results depend on; a job continues only with the same ones.
        sources: Name, size and time of change of each file of posts.
        rows: Number of rows of a shard. The last one of a file of posts is shorter.
    """

    def __init__(
        self,
        filesystem: Any,
        path: str,
        identity: Mapping[str, Any],
        sources: Sequence[Sequence[Any]],
        rows: int,
    ) -> None:
        self.filesystem = filesystem
        self.path = path
        self.rows = rows
        self.shards: list[ResultFile] = []
        # As it is read back: lists in place of tuples.
        self._identity: dict[str, Any] = json.loads(json.dumps({**identity, "rows": rows}))
        self._sources: list[Any] = json.loads(json.dumps(sources))

    @property
    def position(self) -> Position:
        """Place behind the last shard."""
        if not self.shards:
            return Position(0, 0)
        last = self.shards[-1].file
        return Position(last, sum(shard.rows for shard in self.shards if shard.file == last))

    def begin(self) -> None:
        """Make the folder, or read and check the shards of an earlier attempt.

        Raises:
            JobError: The earlier attempt had other settings or read other files, its record or a
                shard is damaged, or the folder cannot be written.
            SourceError: The folder holds complete results or other files, or cannot be listed.
        """
        fs = require("pyarrow.fs", "ray")
        try:
            infos = self.filesystem.get_file_info(fs.FileSelector(self.path, allow_not_found=True))
        except OSError as error:
            raise SourceError(f"'{self.path}' cannot be written to: {first_line(error)}") from error
        names = {info.base_name for info in infos}
        if PROGRESS in names and SUCCESS not in names:
            self._restore()
        elif names:
            raise SourceError(f"'{self.path}' holds files already: name a new folder, or empty it")
        else:
            self._record()

    def write(self, tables: Iterable[Any]) -> Iterator[int]:
        """Write rows as shards, and mark the results as complete behind the last row.

        Args:
            tables: ``pyarrow`` tables of the schema of results with the column `FILE`, in order.

        Yields:
            The number of rows of each table, once they are taken.

        Raises:
            JobError: A file cannot be written.
        """
        pa = require("pyarrow", "ray")
        file, waiting = self.position.file, None
        for table in tables:
            if not table.num_rows:
                continue  # such a table of Ray may lack the columns
            for number, part in _split_files(table):
                if number != file:
                    self._write_shards(file, waiting, is_end=True)
                    file, waiting = number, None
                waiting = part if waiting is None else pa.concat_tables([waiting, part])
                waiting = self._write_shards(file, waiting)
            yield table.num_rows
        self._write_shards(file, waiting, is_end=True)
        self._write_file(SUCCESS, b"")

    def _write_shards(self, file: int, waiting: Any, is_end: bool = False) -> Any:
        """Write the full shards of the rows that wait, at the end of a file the last one, too.

        Returns:
            The rows that still wait; None if there are none.
        """
        while waiting is not None and (waiting.num_rows >= self.rows or is_end):
            self._write_shard(file, waiting.slice(0, self.rows))
            waiting = waiting.slice(self.rows) if waiting.num_rows > self.rows else None
        return waiting

    def _write_shard(self, file: int, table: Any) -> None:
        """Write a shard and record it."""
        pa, parquet = require("pyarrow", "ray"), require("pyarrow.parquet", "ray")
        count = sum(shard.file == file for shard in self.shards)
        name = f"part-{file:05}-{count:05}.parquet"
        content = pa.BufferOutputStream()
        parquet.write_table(table, content)
        buffer = content.getvalue()
        self._write_file(name, buffer)
        digest = hashlib.sha256(buffer).hexdigest()
        self.shards.append(ResultFile(name, file, table.num_rows, digest))
        self._record()

    def _record(self) -> None:
        """Write the record of the shards."""
        record: dict[str, Any] = {
            "identity": self._identity,
            "sources": self._sources,
            "shards": self.shards,
        }
        record[_CHECKSUM] = digest_values(record)
        self._write_file(PROGRESS, json.dumps(record).encode())

    def _write_file(self, name: str, content: Any) -> None:
        """Write a file under a temporary name, have the disk hold it, and rename it.

        Raises:
            JobError: The file cannot be written.
        """
        target, temporary = f"{self.path}/{name}", f"{self.path}/_{name}.partial"
        try:
            self.filesystem.create_dir(self.path)
            with self.filesystem.open_output_stream(temporary) as stream:
                stream.write(content)
            if self.filesystem.type_name == "local":
                _sync(temporary)
            self.filesystem.move(temporary, target)
        except OSError as error:
            raise JobError(f"'{target}' cannot be written: {first_line(error)}") from error

    def _restore(self) -> None:
        """Read the record of an earlier attempt, and check its shards.

        Raises:
            JobError: The attempt had other settings or read other files, or its record or a shard
                is damaged.
        """
        file = f"{self.path}/{PROGRESS}"
        try:
            with self.filesystem.open_input_stream(file) as stream:
                record = json.loads(stream.read())
            checksum = record.pop(_CHECKSUM)
            shards = [ResultFile(*values) for values in record["shards"]]
            identity, sources = dict(record["identity"]), record["sources"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise JobError(f"{file} is not the progress of a job: {_ANEW}") from error
        if checksum != digest_values(record):
            raise JobError(f"{file} is damaged: its content does not match its checksum; {_ANEW}")
        keys = [*self._identity, *identity]
        changed = [key for key in keys if identity.get(key) != self._identity.get(key)]
        if changed:
            names = ", ".join(dict.fromkeys(changed))
            raise JobError(f"{self.path} was begun with another {names}: {_ANEW}")
        if sources != self._sources:
            raise JobError(f"the files of posts have changed since {self.path} was begun: {_ANEW}")
        for shard in shards:
            self._check(shard)
        self.shards = shards

    def _check(self, shard: ResultFile) -> None:
        """Raise unless a shard is what was written.

        Raises:
            JobError: The file is gone, damaged or cannot be read.
        """
        file = f"{self.path}/{shard.name}"
        try:
            with self.filesystem.open_input_file(file) as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise JobError(f"'{file}' cannot be read: {first_line(error)}; {_ANEW}") from error
        if digest != shard.sha256:
            raise JobError(
                f"'{file}' is damaged or was changed: its digest is not the one in {PROGRESS}; "
                f"{_ANEW}"
            )


def _split_files(table: Any) -> Iterator[tuple[int, Any]]:
    """Yield the number of each file of posts in a table, and its rows without that number."""
    start = 0
    for number, group in groupby(table[FILE].to_pylist()):
        count = len(list(group))
        yield number, table.slice(start, count).drop_columns([FILE])
        start += count


def _sync(file: str) -> None:
    """Wait until the disk holds a file."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
