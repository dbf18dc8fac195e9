"""Extraction of a whole source to a file, in one process: resumable after a kill, and atomic.

`mmie.inference.jobs.job_files` describes the files. A job that starts again computes the same
windows of posts as an uninterrupted one, and therefore the same numbers. It reads the posts that it
skips, and refuses others than those that it has read before.
"""

import resource
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mmie.data.sources import BadPost, SourceOptions, count_posts, read_source
from mmie.data.sources.reading import DEFAULT_OPTIONS
from mmie.inference.extractor import Extractor
from mmie.inference.jobs.job_files import (
    InputDigest,
    JobError,
    JobFiles,
    Totals,
    check_targets,
    source_name,
)
from mmie.inference.jobs.kept_keys import KeptKeys
from mmie.inference.jobs.progress import show_progress
from mmie.types import Extraction, Post
from mmie.utils.locks import file_lock
from mmie.utils.signals import termination_interrupts

_MAX_NAMED = 5
"""Most ids of several posts that are named."""
_MAX_LATEST = 8192
"""Most hashes of ids that are kept in a set."""


@dataclass(slots=True)
class ExtractionSummary:
    """Result of a job.

    Attributes:
        out: File of the results.
        errors: File of the posts that could not be read; None if all could.
        totals: Counts over all attempts.
        resumed: Posts that earlier attempts had done.
        rate: Posts per second of this attempt.
        peak_memory_gib: Largest resident memory of the process.
        repeated: Number of ids that several posts have, and the first of them.
    """

    out: Path
    errors: Path | None
    totals: Totals
    resumed: int
    rate: float
    peak_memory_gib: float
    repeated: tuple[int, list[str]] = (0, [])


class _IdCounts:
    """Count of the ids that several posts have, with a hash of each id in memory.

    All hashes but the latest are a sorted array of 8 bytes each, since a set takes ten times as
    much.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []
        self._sorted = np.empty(0, np.int64)
        self._latest: set[int] = set()
        self._repeated: set[int] = set()

    def add(self, item: Post | BadPost) -> None:
        """Count the id of a post that can be read."""
        if isinstance(item, BadPost):
            return
        key = hash(item.id)
        if not self._has_seen(key):
            self._latest.add(key)
            if len(self._latest) == _MAX_LATEST:
                self._merge()
        elif key not in self._repeated:
            self._repeated.add(key)
            self.count += 1
            if len(self.first) < _MAX_NAMED:
                self.first.append(item.id)

    def _has_seen(self, key: int) -> bool:
        """Tell whether a hash is among those that were added."""
        if key in self._latest:
            return True
        index = int(self._sorted.searchsorted(key))
        return index < len(self._sorted) and int(self._sorted[index]) == key

    def _merge(self) -> None:
        """Move the latest hashes to the sorted array."""
        latest = np.fromiter(self._latest, np.int64, len(self._latest))
        self._sorted = np.concatenate([self._sorted, np.sort(latest)])
        self._sorted.sort(kind="stable")  # merges sorted parts in linear time
        self._latest.clear()


@dataclass(slots=True)
class _Window:
    """Posts that the extractor reads together.

    Attributes:
        num_posts: Number of readable posts.
        bad_posts: Unreadable posts between them.
        items: All of them in their order, until they are counted.
    """

    num_posts: int = 0
    bad_posts: list[BadPost] = field(default_factory=list)
    items: list[Post | BadPost] = field(default_factory=list)


def extract_to_file(
    extractor: Extractor,
    source: str,
    out: Path,
    pictures: Path | None = None,
    settings: dict[str, Any] | None = None,
    overwrite: bool = False,
    others: Sequence[Path] = (),
    options: SourceOptions = DEFAULT_OPTIONS,
    max_errors: int | None = None,
) -> ExtractionSummary:
    """Extract entities and relations from all posts of a source and write them to a file.

    Args:
        extractor: The extractor.
        source: Posts, as `mmie.data.sources` reads them.
        out: File of JSON lines, see `mmie.inference.formats.text`; posts that cannot be read go to
            ``<out without suffix>.errors.jsonl``.
        pictures: Folder that pictures' paths are relative to.
        settings: Further settings that the results depend on; a job continues only with the ones
            that it began with.
        overwrite: Whether to replace the result of another job and to begin anew.
        others: Files that the caller converts from ``out``. The same job does nothing again until
            the caller has removed its progress record with `JobFiles.discard`.
        options: How the source is read.
        max_errors: Most posts that may be unreadable; None is no limit.

    Raises:
        JobError: A result or a file of posts that could not be read exists already, or is the
            source; an earlier attempt had other settings or has read other posts; or more posts
            than ``max_errors`` cannot be read.
        LockError: Another job writes to ``out``.
        SourceError: The source cannot be read.
    """
    identity = {"source": source_name(source), "window": extractor.window, **(settings or {})}
    files = JobFiles(out, identity, others)
    with file_lock(out), termination_interrupts():
        check_targets(source, [out, files.errors], overwrite=True)
        if overwrite:
            files.discard()
        finished = files.complete()
        if finished is not None:
            return _summarise(files, finished, finished.read, rate=0.0)
        targets = [out] if files.progress.exists() else [out, files.errors]
        check_targets(source, targets, overwrite)
        items = read_source(source, pictures, options)
        return _run(extractor, source, items, files, max_errors)


def _run(
    extractor: Extractor,
    source: str,
    items: Iterator[Post | BadPost],
    files: JobFiles,
    max_errors: int | None,
) -> ExtractionSummary:
    """Run a job from its beginning or from where an earlier attempt stopped.

    Raises:
        JobError: An earlier attempt had other settings or has read other posts, or more posts than
            ``max_errors`` cannot be read.
        SourceError: The source cannot be read.
    """
    totals = files.read_progress()
    resumed, earlier_seconds = totals.read, totals.seconds
    started = time.monotonic()
    digest, kept, ids = InputDigest(), KeptKeys(files.out), _IdCounts()
    for item in islice(items, resumed):
        digest.add(item)
        ids.add(item)
    if resumed and digest.hexdigest() != totals.digest:
        raise JobError(
            f"{source} has changed since {files.out} was begun: the first {resumed} posts are not "
            "those that were read; add --overwrite to begin anew"
        )
    with files.open(totals) as writer, show_progress(count_posts(source), resumed) as advance:
        for extractions, window in _extract_windows(extractor, items):
            for item in window.items:
                digest.add(item)
                ids.add(item)
            posts = (item for item in window.items if isinstance(item, Post))
            extractions = list(map(kept.add, extractions, posts))
            totals.digest = digest.hexdigest()
            writer.write(extractions, window.bad_posts)
            totals.seconds = earlier_seconds + time.monotonic() - started
            writer.commit()
            advance(len(window.items))
            if max_errors is not None and totals.bad > max_errors:
                raise JobError(
                    f"{totals.bad} of {totals.read} posts could not be read, more than "
                    f"--max_errors {max_errors}: see {files.partial_errors}"
                )
    files.finish(totals)
    rate = (totals.read - resumed) / max(time.monotonic() - started, 1e-9)
    summary = _summarise(files, totals, resumed, rate)
    summary.repeated = ids.count, ids.first
    return summary


def _summarise(files: JobFiles, totals: Totals, resumed: int, rate: float) -> ExtractionSummary:
    """Summarise a finished job."""
    errors = files.errors if totals.bad else None
    peak_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return ExtractionSummary(files.out, errors, totals, resumed, rate, peak_memory)


def _extract_windows(
    extractor: Extractor, items: Iterable[Post | BadPost]
) -> Iterator[tuple[list[Extraction], _Window]]:
    """Yield the extractions of each window of posts with the window.

    The extractor reads posts ahead of its results, so that several windows are open at a time.
    """
    windows: deque[_Window] = deque([_Window()])

    def readable_posts() -> Iterator[Post]:
        for item in items:
            windows[-1].items.append(item)
            if isinstance(item, BadPost):
                windows[-1].bad_posts.append(item)
                continue
            windows[-1].num_posts += 1
            if windows[-1].num_posts == extractor.window:
                windows.append(_Window())
            yield item

    extractions: list[Extraction] = []
    for extraction in extractor.stream(readable_posts()):
        extractions.append(extraction)
        is_full = len(windows) > 1
        if is_full and len(extractions) == windows[0].num_posts:
            yield extractions, windows.popleft()
            extractions = []
    yield extractions, windows.popleft()
