"""Extraction of a whole source to a file: resumable after a kill, atomic, nothing dropped without a word.

While a job runs, ``OUT.partial`` holds what was found and ``OUT.errors.partial`` the posts that could not be read, a
line of JSON each; after every window of posts ``OUT.progress`` says how much of both is certain. A job that starts
again cuts both off there and goes on, with the same windows and so with the same numbers. At its end the files get
their names at once.
"""

import contextlib
import json
import os
import resource
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from io import BufferedWriter
from itertools import islice
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from mmie.data.sources import BadPost, count_posts, read_source
from mmie.inference.extractor import Extractor
from mmie.inference.formats.text import to_json
from mmie.types import Extraction, MmieError, Post
from mmie.utils.files import atomic_write


class JobError(MmieError, ValueError):
    """A job that cannot be run into the files that it names."""


@dataclass(slots=True)
class Totals:
    """What a job has done, earlier attempts included.

    Attributes:
        read: Posts that were read, bad ones included.
        bad: Posts that could not be read.
        problems: Posts of which something could not be read.
        entities: Entities found.
        relations: Relations found.
        seconds: Time of computing.
        bytes_found: Size of what was found, as it is written.
        bytes_bad: Size of what is said of bad posts.
    """

    read: int = 0
    bad: int = 0
    problems: int = 0
    entities: int = 0
    relations: int = 0
    seconds: float = 0.0
    bytes_found: int = 0
    bytes_bad: int = 0


@dataclass(slots=True)
class Outcome:
    """What came of a job.

    Attributes:
        out: What was found.
        errors: What could not be read; None if all could.
        totals: Counts, earlier attempts included.
        resumed: Posts that earlier attempts had done.
        rate: Posts per second of this attempt.
        peak_memory_gib: Most resident memory of the process.
    """

    out: Path
    errors: Path | None
    totals: Totals
    resumed: int
    rate: float
    peak_memory_gib: float


@dataclass(slots=True)
class _Window:
    """The good posts of a window, and what was read with them."""

    read: int = 0
    good: int = 0
    bad: list[BadPost] = field(default_factory=list)


def extract_to_file(
    extractor: Extractor,
    source: str,
    out: Path,
    pictures: Path | None = None,
    settings: dict[str, Any] | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Find what there is to find in all posts of a source.

    Args:
        extractor: Finds it.
        source: See `mmie.data.sources`.
        out: File of JSON lines, see `mmie.inference.formats.text`; bad posts go to ``<out without suffix>.errors.jsonl``.
        pictures: Folder that pictures' paths are relative to.
        settings: What the result depends on; a job goes on only with those that it began with.
        overwrite: Replace the result of another job, and begin anew.

    Raises:
        JobError: There is a result already, or the beginning of one with other settings; or it is the source.
        SourceError: The source cannot be read.
    """
    check_targets(source, [out], overwrite)
    files = _Files(out)
    identity = {"source": _fingerprint(source), "window": extractor.window, **(settings or {})}
    done = files.begin(identity, overwrite)
    totals = Totals(**done)
    started, resumed = time.monotonic(), totals.read
    items = islice(read_source(source, pictures), resumed, None)
    with files.opened(totals) as streams, _progress(count_posts(source), resumed) as advance:
        for window, found in _windows(extractor, items):
            streams.write(window, found, totals)
            totals.seconds = done.get("seconds", 0.0) + time.monotonic() - started
            streams.commit(identity, totals)
            advance(window.read)
    errors = files.finish(totals)
    rate = (totals.read - resumed) / max(time.monotonic() - started, 1e-9)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Outcome(out, errors, totals, resumed, rate, peak)


def check_targets(source: str, targets: Iterable[Path], overwrite: bool) -> None:
    """Refuse to write over the posts, or over anything unasked.

    Raises:
        JobError: A target is the source, or is there already.
    """
    for target in targets:
        if not target.exists():
            continue
        if Path(source).exists() and target.samefile(source):
            raise JobError(
                f"{target} holds the posts, and would be written over: name another file"
            )
        if not overwrite:
            raise JobError(f"{target} is there already: name another file, or add --overwrite")


def format_rate(rate: float) -> str:
    """Posts per second, to two digits at least.

    >>> format_rate(156.2), format_rate(1.042)
    ('156', '1.0')
    """
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def _windows(
    extractor: Extractor, items: Iterable[Post | BadPost]
) -> Iterator[tuple[_Window, list[Extraction]]]:
    """Each window of the extractor with what was found in it, and with the bad posts that were met on the way."""
    windows: deque[_Window] = deque([_Window()])

    def good() -> Iterator[Post]:
        for item in items:
            window = windows[-1]
            window.read += 1
            if isinstance(item, BadPost):
                window.bad.append(item)
                continue
            window.good += 1
            if window.good == extractor.window:
                windows.append(_Window())
            yield item

    found: list[Extraction] = []
    for extraction in extractor.stream(good()):
        found.append(extraction)
        if len(found) == windows[0].good and len(windows) > 1:
            yield windows.popleft(), found
            found = []
    yield windows.popleft(), found


class _Files:
    """The files of a job.

    Args:
        out: Its result.
    """

    def __init__(self, out: Path) -> None:
        self.out = out
        self.errors = out.with_name(f"{out.stem}.errors.jsonl")
        self.partial, self.partial_errors = (
            path.with_name(f"{path.name}.partial") for path in (out, self.errors)
        )
        self.progress = out.with_name(f"{out.name}.progress")

    def begin(self, identity: dict[str, Any], overwrite: bool) -> dict[str, Any]:
        """The totals of an earlier attempt that this one continues; nothing if there is none."""
        if overwrite:
            for path in (self.progress, self.partial, self.partial_errors):
                path.unlink(missing_ok=True)
        try:
            left = json.loads(self.progress.read_text(encoding="utf-8"))
            totals: dict[str, Any] = asdict(Totals(**left["totals"]))
        except FileNotFoundError:
            return {}
        except (ValueError, KeyError, TypeError) as error:
            raise JobError(
                f"{self.progress} is no progress of a job: add --overwrite to begin anew"
            ) from error
        if left.get("identity") != json.loads(json.dumps(identity)):
            other = [
                key
                for key in identity
                if left["identity"].get(key) != json.loads(json.dumps(identity[key]))
            ]
            raise JobError(
                f"{self.out} was begun with another {', '.join(other)}: add --overwrite to begin anew"
            )
        return totals

    @contextlib.contextmanager
    def opened(self, totals: Totals) -> Iterator["_Streams"]:
        """The partial files, cut off behind what is certain."""
        self.out.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            streams: list[BufferedWriter] = []
            for path, size in (
                (self.partial, totals.bytes_found),
                (self.partial_errors, totals.bytes_bad),
            ):
                stream = stack.enter_context(path.open("ab"))
                if stream.tell() < size:
                    raise JobError(
                        f"{path} is shorter than {self.progress} says: add --overwrite to begin anew"
                    )
                stream.truncate(size)
                streams.append(stream)
            yield _Streams(streams[0], streams[1], self.progress)

    def finish(self, totals: Totals) -> Path | None:
        """Give the files their names; where the errors are, if there are any."""
        if totals.bad:
            self.partial_errors.replace(self.errors)
        else:
            self.partial_errors.unlink()
            self.errors.unlink(missing_ok=True)
        self.partial.replace(self.out)
        self.progress.unlink(missing_ok=True)
        return self.errors if totals.bad else None


class _Streams:
    """The partial files of a job that runs."""

    def __init__(self, found: BufferedWriter, bad: BufferedWriter, progress: Path) -> None:
        self.found, self.bad, self.progress = found, bad, progress

    def write(self, window: _Window, found: list[Extraction], totals: Totals) -> None:
        """Add a window to the files and to the totals."""
        for extraction in found:
            self.found.write(_line(to_json(extraction)))
            totals.problems += bool(extraction.problems)
            totals.entities += len(extraction.entities)
            totals.relations += len(extraction.relations)
        for post in window.bad:
            self.bad.write(_line({"place": post.place, "reason": post.reason}))
        totals.read += window.read
        totals.bad += len(window.bad)

    def commit(self, identity: dict[str, Any], totals: Totals) -> None:
        """Have the disk hold all that was written, then say so."""
        for stream in (self.found, self.bad):
            stream.flush()
            os.fsync(stream.fileno())
        totals.bytes_found, totals.bytes_bad = self.found.tell(), self.bad.tell()
        state = json.dumps({"identity": identity, "totals": asdict(totals)})
        atomic_write(self.progress, lambda file: file.write_text(state, encoding="utf-8"))


def _line(record: dict[str, Any]) -> bytes:
    """A line of JSON; a lone surrogate, which UTF-8 cannot hold, is escaped."""
    try:
        return json.dumps(record, ensure_ascii=False).encode() + b"\n"
    except UnicodeEncodeError:
        return json.dumps(record).encode() + b"\n"


def _fingerprint(source: str) -> list[object]:
    """What tells a source from another, or from itself after a change."""
    path = Path(source)
    if not path.exists():
        return [source]
    status = path.stat()
    return [str(path.resolve()), *([] if path.is_dir() else [status.st_size, status.st_mtime_ns])]


@contextlib.contextmanager
def _progress(total: int | None, done: int) -> Iterator[Any]:
    """A bar with rate and time left on a terminal; elsewhere a line every half minute."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(console, total, done)
        return
    rate = TextColumn("{task.fields[rate]}")
    columns = (BarColumn(), MofNCompleteColumn(), rate, TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("posts", total=total, completed=done, rate="")
        started, count = time.monotonic(), 0

        def advance(posts: int) -> None:
            nonlocal count
            count += posts
            progress.update(
                task,
                advance=posts,
                rate=f"{format_rate(count / (time.monotonic() - started))} posts/s",
            )

        yield advance


class _Lines:
    """Progress for a log file."""

    def __init__(self, console: Console, total: int | None, done: int, every: float = 30.0) -> None:
        self.console, self.total, self.done, self.every = console, total, done, every
        self.started = self.last = time.monotonic()
        self.count = 0

    def __call__(self, posts: int) -> None:
        self.count += posts
        now = time.monotonic()
        if now - self.last >= self.every:
            rate = self.count / (now - self.started)
            seen = self.done + self.count
            left = (
                ""
                if self.total is None
                else f" of {self.total}, {max(0, self.total - seen) / rate:.0f} s left"
            )
            self.console.print(f"{seen} posts{left}, {format_rate(rate)} posts/s", soft_wrap=True)
            self.last = now
