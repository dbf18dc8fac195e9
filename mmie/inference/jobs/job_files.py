"""Files of a resumable extraction job.

==============================  =================================================================
file                            content
==============================  =================================================================
``found.jsonl``                 the result, which appears when the job is finished
``found.errors.jsonl``          posts that could not be read, if there are any
``found.jsonl.partial``         results so far
``found.errors.jsonl.partial``  bad posts so far
``found.jsonl.progress``        settings, totals, size and SHA-256 of both files, a digest of the
                                posts that were read, and a checksum of all this
``found.jsonl.lock``            lock of the job that is running, see `mmie.utils.locks`
==============================  =================================================================

The progress record is rewritten after every window of posts. A job that starts again truncates both
partial files to the recorded sizes and continues from there, provided that what is left of them,
and the posts that it skips, have the recorded digests. The files of a finished job are renamed one
by one. A job that was interrupted between them completes the renames when it starts again. If other
files are converted from the results, the progress record names them, and stays until they are
written.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, astuple, dataclass, field
from io import BufferedWriter
from pathlib import Path
from typing import Any

from mmie.data.sources import BadPost
from mmie.data.sources.items import error_record
from mmie.inference.formats.text import to_json
from mmie.types import Extraction, MmieError, Post
from mmie.utils.files import atomic_write_text, digest_file, digest_values, open_to_append
from mmie.utils.text import describe_os_error, first_line, truncate

_CHECKSUM = "sha256"
"""Key of the checksum of a progress record. Records of versions before 0.2 have none."""
_OTHERS = "others"
"""Key of the files that are converted from the results."""
_MAX_KINDS, _MAX_KIND = 30, 100
"""Most kinds of faults that are counted, and most characters of one."""
_OTHER_KINDS = "others"
_ANEW = "add --overwrite to begin anew"


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
        sha256_found: SHA-256 of the file of results; empty in records of versions before 0.2.
        sha256_bad: SHA-256 of the file of bad posts; empty in records of versions before 0.2.
        digest: Digest of the posts that were read, see `InputDigest`.
        finished: Whether all posts were read, so that only the renames are left.
        kinds_bad: Posts that could not be read by the kind of the fault.
        kinds_problems: Problems of posts that were read in part, by their kind.
    """

    read: int = 0
    bad: int = 0
    problems: int = 0
    entities: int = 0
    relations: int = 0
    seconds: float = 0.0
    bytes_found: int = 0
    bytes_bad: int = 0
    sha256_found: str = ""
    sha256_bad: str = ""
    digest: str = ""
    finished: bool = False
    kinds_bad: dict[str, int] = field(default_factory=dict)
    kinds_problems: dict[str, int] = field(default_factory=dict)


class InputDigest:
    """Digest of the posts that a job has read, in their order.

    A picture counts by its path, size and time of change, so that skipped posts need no decoding.
    Entities, relations and further keys count where a post has them.
    """

    def __init__(self) -> None:
        self._hash = hashlib.sha256()

    def add(self, item: Post | BadPost) -> None:
        """Add a post, or one that could not be read."""
        if isinstance(item, BadPost):
            content: list[object] = [item.place, item.reason]
        else:
            pictures = [_picture_state(picture) for picture in (item.image, *item.crops)]
            content = [item.id, item.words, item.text, item.context, pictures]
            if item.entities or item.relations or item.extra:
                labels = [*map(astuple, item.entities), *map(astuple, item.relations)]
                content += [labels, item.extra]
            if item.more_images:
                content.append([_picture_state(picture) for picture in item.more_images])
        self._hash.update(json.dumps(content).encode() + b"\n")

    def hexdigest(self) -> str:
        """Return the digest of all posts so far."""
        return self._hash.hexdigest()


class JobFiles:
    """Result, errors, partial files and progress record of a job.

    Args:
        out: File of the results.
        identity: Settings that the results depend on; a job continues only with the same ones.
        others: Files that are converted from the results. The progress record of a finished job
            stays for them until `discard` is called.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any], others: Iterable[Path] = ()) -> None:
        self.out = out
        self.others = [str(other.absolute()) for other in others]
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

    def read_targets(self) -> set[Path]:
        """Return the absolute paths of the files that an earlier attempt was to write."""
        try:
            record = json.loads(self.progress.read_text(encoding="utf-8"))
            others = set(map(Path, record.get(_OTHERS, [])))
        except FileNotFoundError:
            return set()
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            others = set()  # `read_progress` reports the damage
        return {self.out.absolute(), self.errors.absolute(), *others}

    def read_progress(self) -> Totals:
        """Return the totals of an earlier attempt, or zeros if there was none.

        Raises:
            JobError: The record is damaged, or the earlier attempt had other settings.
        """
        try:
            record = json.loads(self.progress.read_text(encoding="utf-8"))
            checksum = record.pop(_CHECKSUM, None)
            totals = Totals(**record["totals"])
            identity = dict(record["identity"])
        except FileNotFoundError:
            return Totals()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise JobError(f"{self.progress} is not the progress of a job: {_ANEW}") from error
        if checksum not in (None, digest_values(record)):
            raise JobError(
                f"{self.progress} is damaged: its content does not match its checksum; {_ANEW}"
            )
        self._check_identity(identity)
        return totals

    def complete(self) -> Totals | None:
        """Complete the renames of an earlier attempt that had read all posts.

        Returns:
            The totals of that attempt; None if there was none.

        Raises:
            JobError: The record or a file is damaged, a file is gone, or the earlier attempt had
                other settings.
        """
        totals = self.read_progress()
        if not totals.finished:
            return None
        self._check_finished(self.partial_out, self.out, totals.sha256_found)
        if totals.bad:
            self._check_finished(self.partial_errors, self.errors, totals.sha256_bad)
        self._rename(totals)
        return totals

    @contextmanager
    def open(self, totals: Totals) -> Iterator["JobWriter"]:
        """Open the partial files, truncated to the sizes that the totals record.

        Raises:
            JobError: A file is not what is recorded, is a link, or cannot be written.
        """
        is_new = not totals.read
        with ExitStack() as stack:
            try:
                self.out.parent.mkdir(parents=True, exist_ok=True)
                results = stack.enter_context(open_to_append(self.partial_out, is_new))
                errors = stack.enter_context(open_to_append(self.partial_errors, is_new))
            except OSError as error:
                raise JobError(
                    f"{error.filename or self.out} cannot be written: "
                    f"{error.strerror or first_line(error)}"
                ) from error
            found = _PartialFile(self.partial_out, results)
            found.restore(totals.bytes_found, totals.sha256_found, self.progress)
            bad = _PartialFile(self.partial_errors, errors)
            bad.restore(totals.bytes_bad, totals.sha256_bad, self.progress)
            yield JobWriter(self, found, bad, totals)

    def finish(self, totals: Totals) -> Path | None:
        """Rename the partial files, and remove the progress record unless other files follow.

        Returns:
            The file of bad posts; None if all posts could be read.
        """
        totals.finished = True
        self.record(totals)
        self._rename(totals)
        return self.errors if totals.bad else None

    def record(self, totals: Totals) -> None:
        """Write the progress record atomically."""
        record: dict[str, Any] = {"identity": self.identity, "totals": asdict(totals)}
        if self.others:
            record[_OTHERS] = self.others
        record[_CHECKSUM] = digest_values(record)
        atomic_write_text(self.progress, json.dumps(record))

    def _rename(self, totals: Totals) -> None:
        """Give the results their names, those that an interrupted attempt has left."""
        if totals.bad:
            if self.partial_errors.exists():
                self.partial_errors.replace(self.errors)
        else:
            self.partial_errors.unlink(missing_ok=True)
            self.errors.unlink(missing_ok=True)
        if self.partial_out.exists():
            self.partial_out.replace(self.out)
        if not self.others:
            self.progress.unlink(missing_ok=True)

    def _check_identity(self, earlier: Mapping[str, Any]) -> None:
        """Raise if an earlier attempt had other settings.

        Raises:
            JobError: A setting differs; the message names it.
        """
        if earlier == self.identity:
            return
        changed = [key for key in self.identity if earlier.get(key) != self.identity[key]]
        raise JobError(f"{self.out} was begun with another {', '.join(changed)}: {_ANEW}")

    def _check_finished(self, partial: Path, target: Path, digest: str) -> None:
        """Raise if a file of an attempt that had read all posts is not what was written.

        Args:
            partial: The file before its rename.
            target: The file after its rename.
            digest: Recorded SHA-256; empty if there is none.

        Raises:
            JobError: The file is gone, damaged or cannot be read.
        """
        if not digest:
            return
        file = partial if partial.exists() else target
        try:
            is_same = digest_file(file) == digest
        except OSError as error:
            raise JobError(f"{describe_os_error(error)}; {_ANEW}") from error
        if not is_same:
            raise JobError(_changed_message(file, self.progress))


class _PartialFile:
    """Partial file that grows, with the SHA-256 of its content.

    Args:
        path: The file.
        stream: The file, open for appending.
    """

    def __init__(self, path: Path, stream: BufferedWriter) -> None:
        self.path = path
        self.size = 0
        self._stream = stream
        self._hash = hashlib.sha256()

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        return self._hash.hexdigest()

    def restore(self, size: int, digest: str, progress: Path) -> None:
        """Truncate to the size that is recorded, and check that the rest is what was written.

        Args:
            size: Recorded size.
            digest: Recorded SHA-256; empty if there is none.
            progress: The record, for the error.

        Raises:
            JobError: The file is shorter than recorded, or its content is another one.
        """
        if self._stream.tell() < size:
            raise JobError(f"{self.path} is shorter than {progress} says: {_ANEW}")
        self._stream.truncate(size)
        with self.path.open("rb") as content:
            self._hash = hashlib.file_digest(content, "sha256")
        self.size = size
        if digest not in ("", self.digest):
            raise JobError(_changed_message(self.path, progress))

    def write(self, line: bytes) -> None:
        """Append a line."""
        self._stream.write(line)
        self._hash.update(line)
        self.size += len(line)

    def sync(self) -> None:
        """Flush and fsync."""
        self._stream.flush()
        os.fsync(self._stream.fileno())


class JobWriter:
    """Open partial files of a running job.

    Args:
        files: The job's files.
        results: File of results.
        errors: File of bad posts.
        totals: Counts, which are updated.
    """

    def __init__(
        self, files: JobFiles, results: _PartialFile, errors: _PartialFile, totals: Totals
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
            count_kinds(self.totals.kinds_problems, extraction.problems)
            self.totals.entities += len(extraction.entities)
            self.totals.relations += len(extraction.relations)
        for post in bad_posts:
            self.errors.write(_json_line(error_record(post)))
            count_kinds(self.totals.kinds_bad, [post.kind])
            self.totals.read += 1
            self.totals.bad += 1

    def commit(self) -> None:
        """Flush and fsync the files, then record the progress."""
        self.results.sync()
        self.errors.sync()
        self.totals.bytes_found = self.results.size
        self.totals.sha256_found = self.results.digest
        self.totals.bytes_bad = self.errors.size
        self.totals.sha256_bad = self.errors.digest
        self.files.record(self.totals)


def count_kinds(counts: dict[str, int], lines: Iterable[str]) -> None:
    """Add lines to counts of kinds: numbers in them do not count, nor do rare further kinds.

    >>> counts = {}
    >>> count_kinds(counts, ["image: missing", "image: more than 5 pixels", "image: missing"])
    >>> counts
    {'image: missing': 2, 'image: more than N pixels': 1}
    """
    for line in lines:
        kind = truncate(re.sub(r"\d+", "N", line), _MAX_KIND)
        if kind not in counts and len(counts) >= _MAX_KINDS:
            kind = _OTHER_KINDS
        counts[kind] = counts.get(kind, 0) + 1


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


def source_name(source: str) -> str:
    """Return the name of a source whatever the working directory is."""
    path = Path(source)
    return str(path.resolve()) if path.exists() else source


def _changed_message(file: Path, progress: Path) -> str:
    """Describe a file that is not what was written."""
    return f"{file} is damaged or was changed: its digest is not the one in {progress}; {_ANEW}"


def _picture_state(picture: object) -> list[object] | None:
    """Return path, size and time of change of a picture file, or None without a picture."""
    if picture is None:
        return None
    file = Path(str(picture)).absolute()
    try:
        status = file.stat()
    except OSError:
        return [str(file)]
    return [str(file), status.st_size, status.st_mtime_ns]


def _partial(path: Path) -> Path:
    """Return the path of the partial file of a target."""
    return path.with_name(f"{path.name}.partial")


def _json_line(record: Mapping[str, Any]) -> bytes:
    """Encode a record as a line of JSON, with lone surrogates escaped since UTF-8 lacks them."""
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record).encode() + b"\n"
