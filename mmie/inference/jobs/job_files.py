"""Files of a resumable extraction job.

==============================  =================================================================
file                            content
==============================  =================================================================
``found.jsonl``                 the result, which appears when the job is finished
``found.errors.jsonl``          posts that could not be read, if there are any
``found.jsonl.partial``         results so far
``found.errors.jsonl.partial``  bad posts so far
``found.jsonl.progress``        settings, totals, and how many bytes of both are on the disk
==============================  =================================================================

The progress record is rewritten after every window of posts. A job that starts again truncates both
partial files to the recorded sizes and continues from there.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from io import BufferedWriter
from pathlib import Path
from typing import Any

from mmie.data.sources import BadPost
from mmie.inference.formats.text import to_json
from mmie.types import Extraction, MmieError
from mmie.utils.files import atomic_write_text


class JobError(MmieError, ValueError):
    """A job that cannot write or continue the files it names."""


@dataclass(slots=True)
class Totals:
    """Counts of a job over all its attempts.

    Attributes:
        read: Posts that were read, bad ones included.
        bad: Posts that could not be read.
        problems: Posts of which some part could not be read.
        entities: Entities that were found.
        relations: Relations that were found.
        seconds: Time of computing.
        bytes_found: Size of the file of results.
        bytes_bad: Size of the file of bad posts.
    """

    read: int = 0
    bad: int = 0
    problems: int = 0
    entities: int = 0
    relations: int = 0
    seconds: float = 0.0
    bytes_found: int = 0
    bytes_bad: int = 0


class JobFiles:
    """Result, errors, partial files and progress record of a job.

    Args:
        out: File of the results.
        identity: Settings that the results depend on; a job continues only with the same ones.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any]) -> None:
        self.out = out
        self.errors = out.with_name(f"{out.stem}.errors.jsonl")
        self.partial_out = _partial(self.out)
        self.partial_errors = _partial(self.errors)
        self.progress = out.with_name(f"{out.name}.progress")
        # As it is read back: lists in place of tuples.
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))

    def discard(self) -> None:
        """Remove the partial files and the progress record of an earlier attempt."""
        for path in (self.progress, self.partial_out, self.partial_errors):
            path.unlink(missing_ok=True)

    def read_progress(self) -> Totals:
        """Return the totals of an earlier attempt, or zeros if there was none.

        Raises:
            JobError: The record is damaged, or the earlier attempt had other settings.
        """
        try:
            record = json.loads(self.progress.read_text(encoding="utf-8"))
            totals = Totals(**record["totals"])
            identity = dict(record["identity"])
        except FileNotFoundError:
            return Totals()
        except (ValueError, KeyError, TypeError) as error:
            raise JobError(
                f"{self.progress} is not the progress of a job: add --overwrite to begin anew"
            ) from error
        self._check_identity(identity)
        return totals

    @contextmanager
    def open(self, totals: Totals) -> Iterator["JobWriter"]:
        """Open the partial files, truncated to the sizes that the totals record.

        Raises:
            JobError: A file is shorter than recorded.
        """
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            results = stack.enter_context(self.partial_out.open("ab"))
            self._truncate(self.partial_out, results, totals.bytes_found)
            errors = stack.enter_context(self.partial_errors.open("ab"))
            self._truncate(self.partial_errors, errors, totals.bytes_bad)
            yield JobWriter(self, results, errors, totals)

    def finish(self, totals: Totals) -> Path | None:
        """Rename the partial files and remove the progress record.

        Returns:
            The file of bad posts; None if all posts could be read.
        """
        if totals.bad:
            self.partial_errors.replace(self.errors)
        else:
            self.partial_errors.unlink()
            self.errors.unlink(missing_ok=True)
        self.partial_out.replace(self.out)
        self.progress.unlink(missing_ok=True)
        return self.errors if totals.bad else None

    def _check_identity(self, earlier: Mapping[str, Any]) -> None:
        """Raise if an earlier attempt had other settings.

        Raises:
            JobError: A setting differs; the message names it.
        """
        if earlier == self.identity:
            return
        changed = [key for key in self.identity if earlier.get(key) != self.identity[key]]
        raise JobError(
            f"{self.out} was begun with another {', '.join(changed)}: add --overwrite to begin anew"
        )

    def _truncate(self, path: Path, stream: BufferedWriter, size: int) -> None:
        """Truncate a partial file to the size that is recorded.

        Raises:
            JobError: The file is shorter than recorded.
        """
        if stream.tell() < size:
            raise JobError(
                f"{path} is shorter than {self.progress} says: add --overwrite to begin anew"
            )
        stream.truncate(size)


class JobWriter:
    """Open partial files of a running job.

    Args:
        files: The job's files.
        results: File of results, open for appending.
        errors: File of bad posts, open for appending.
        totals: Counts, which are updated.
    """

    def __init__(
        self, files: JobFiles, results: BufferedWriter, errors: BufferedWriter, totals: Totals
    ) -> None:
        self.files = files
        self.results = results
        self.errors = errors
        self.totals = totals

    def write(self, extractions: Iterable[Extraction], bad_posts: Iterable[BadPost]) -> None:
        """Append the results and the bad posts of a window, and count them."""
        for extraction in extractions:
            self.results.write(_json_line(to_json(extraction)))
            self.totals.read += 1
            self.totals.problems += bool(extraction.problems)
            self.totals.entities += len(extraction.entities)
            self.totals.relations += len(extraction.relations)
        for post in bad_posts:
            self.errors.write(_json_line({"place": post.place, "reason": post.reason}))
            self.totals.read += 1
            self.totals.bad += 1

    def commit(self) -> None:
        """Flush and fsync the files, then record the progress."""
        for stream in (self.results, self.errors):
            stream.flush()
            os.fsync(stream.fileno())
        self.totals.bytes_found = self.results.tell()
        self.totals.bytes_bad = self.errors.tell()
        record = {"identity": self.files.identity, "totals": asdict(self.totals)}
        atomic_write_text(self.files.progress, json.dumps(record))


def check_targets(source: str, targets: Iterable[Path], overwrite: bool) -> None:
    """Raise if a job would overwrite its own source or, unless asked to, another file.

    Raises:
        JobError: A target is the source, or exists and ``overwrite`` is false.
    """
    for target in targets:
        if not target.exists():
            continue
        if Path(source).exists() and target.samefile(source):
            raise JobError(f"{target} is the source, and would be written over: name another file")
        if not overwrite:
            raise JobError(f"{target} is there already: name another file, or add --overwrite")


def fingerprint(source: str) -> list[object]:
    """Return what identifies the content of a source: its path and, for a file, size and time."""
    path = Path(source)
    if not path.exists():
        return [source]
    if path.is_dir():
        return [str(path.resolve())]
    status = path.stat()
    return [str(path.resolve()), status.st_size, status.st_mtime_ns]


def _partial(path: Path) -> Path:
    """Return the path of the partial file of a target."""
    return path.with_name(f"{path.name}.partial")


def _json_line(record: Mapping[str, Any]) -> bytes:
    """Encode a record as a line of JSON, with lone surrogates escaped since UTF-8 lacks them."""
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record).encode() + b"\n"
