"""Audit of picture files: each is decoded once, and the result is remembered between runs.

Results lie in ``$MMIE_CACHE/pictures.json`` (or ``~/.cache/mmie/pictures.json``), by path, with the
SHA-256 of the file. A file whose size, inode, modification time and change time stay the same is
taken to be unchanged. A sample of such files is read in each run, and all of them if one has
changed. Any other file is read, and is decoded if its SHA-256 is another one.

Only what follows from the bytes is remembered: not a lack of rights, of open files, of memory or of
a decoder. That a file is no usable picture holds for the decoders that found it, which are
remembered with it.
"""

import contextlib
import json
import os
import random
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

from rich.progress import track

from mmie.data.picture_formats import decoders
from mmie.data.pictures import (
    MAX_PIXELS,
    PictureError,
    PictureTooLarge,
    PictureUnavailable,
    PictureUndecided,
    check_regular,
    decode_frame,
    open_picture,
)
from mmie.types import MmieError
from mmie.utils.files import atomic_write_text, digest_file
from mmie.utils.partial_files import remove_stale_partials
from mmie.utils.terminal import PlainConsole

_MAX_THREADS = 8
_PROGRESS_FROM = 500
"""Number of pictures from which a progress bar is shown."""
_DRAFT_SIDE = 64
"""Side in pixels of the reduced picture that is enough to find damage in a JPEG file."""
_NO_END = "truncated: the last bytes are missing, although all pixels are there"
_LEAST_SAMPLE = 16
_SAMPLED_SHARE = 0.01
"""Share of the files taken to be unchanged that is read to check it, at least `_LEAST_SAMPLE`."""
_ATTEMPTS = 3
"""Number of times that a file is read that changes meanwhile."""
_CLOCK_TICK_NS = 10**9
"""Nanoseconds within which two changes of a file may show the same change time."""


class CacheFolderUnknown(MmieError, RuntimeError):
    """No folder for what is kept between runs: the user has no home folder."""


class _FileKey(NamedTuple):
    """Status of a file, which changes when the file does."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int

    @classmethod
    def of(cls, status: os.stat_result) -> Self:
        """Return the key of a file's status."""
        return cls(status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


class _Result(NamedTuple):
    """Result of decoding a picture file.

    Attributes:
        key: Status of the file; None if it must not stand for the content.
        pixels: Pixels of a readable picture.
        reason: Why the picture is unreadable, or "". A picture with pixels and a reason is readable
            unless pictures are read strictly.
        digest: SHA-256 of the file, or "" for a result that must not be remembered.
    """

    key: _FileKey | None
    pixels: int = 0
    reason: str = ""
    digest: str = ""

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Read the values that `to_json` returned, or those that version 0.1 wrote.

        Raises:
            ValueError: The values are not those of a result, or other decoders found the fault.
        """
        match values:
            case [list(status), int(pixels), "", str(digest)]:
                key = _FileKey(*map(int, status)) if len(status) == 4 else None
                return cls(key, pixels, "", digest)
            case [list(status), int(pixels), str(reason), str(digest), str(found_by)]:
                if found_by == decoders():
                    key = _FileKey(*map(int, status)) if len(status) == 4 else None
                    return cls(key, pixels, reason, digest)
            case [int(), int(), int(pixels), "", str(digest)]:
                return cls(None, pixels, "", digest)
        raise ValueError("no result that holds today")

    def to_json(self) -> list[list[int] | int | str]:
        """Convert to a list for JSON."""
        status: list[int] = list(self.key or ())
        values: list[list[int] | int | str] = [status, self.pixels, self.reason, self.digest]
        return [*values, decoders()] if self.reason else values

    def problem(self, max_pixels: int, strict: bool = False) -> str:
        """Return why the picture is unreadable under a limit, or "" if it is readable."""
        if self.pixels > max_pixels:
            return str(PictureTooLarge.at(max_pixels))
        return self.reason if strict or not self.pixels else ""


def audit_pictures(
    paths: Iterable[Path],
    max_pixels: int = MAX_PIXELS,
    workers: int | None = None,
    strict: bool = False,
) -> dict[Path, str]:
    """Find the files that cannot be used as pictures.

    Every distinct file is decoded fully once, unless an earlier run did so. A file that is missing
    or cannot be read is tried again each time.

    Args:
        paths: Picture files.
        max_pixels: A picture with more pixels counts as unreadable.
        workers: Number of threads; None takes one per core, 8 at most.
        strict: Whether a JPEG without its last bytes, of which all pixels are there, counts as
            unreadable.

    Returns:
        Reasons as `load_picture` gives them, by path, in the order of ``paths``.
    """
    unreadable: dict[Path, str] = {}
    for path, result in _check_all(paths, max_pixels, workers).items():
        problem = result.problem(max_pixels, strict)
        if problem:
            unreadable[path] = problem
    return unreadable


def picture_digests(paths: Iterable[Path], max_pixels: int = MAX_PIXELS) -> dict[Path, str]:
    """Compute the SHA-256 of every file that can be used as a picture.

    Files that an audit has decoded before and that are unchanged are not read again.

    Args:
        paths: Picture files.
        max_pixels: A picture with more pixels counts as unreadable.

    Returns:
        Digests by path. Unreadable files are left out.
    """
    digests: dict[Path, str] = {}
    for path, result in _check_all(paths, max_pixels).items():
        if not result.problem(max_pixels):
            digests[path] = result.digest
    return digests


def cache_folder() -> Path:
    """Return the folder of everything that is kept between runs.

    It is ``$MMIE_CACHE``, or ``~/.cache/mmie``.

    Raises:
        CacheFolderUnknown: Neither ``$MMIE_CACHE`` nor the user's home folder is known.
    """
    folder = os.environ.get("MMIE_CACHE")
    if folder:
        return Path(folder)
    try:
        return Path.home() / ".cache" / "mmie"
    except RuntimeError as error:
        raise CacheFolderUnknown(
            "no home folder is known to keep results in: set MMIE_CACHE, or for fits and tests "
            "name a folder by --feature_store"
        ) from error


def forget_picture(path: Path) -> None:
    """Remove the remembered result of a file."""
    results = _read_results()
    if results.pop(os.path.abspath(path), None) is not None:
        _write_results(results)


def _check_all(
    paths: Iterable[Path], max_pixels: int, workers: int | None = None
) -> dict[Path, _Result]:
    """Check every distinct file, in threads, and remember the results."""
    distinct = list(dict.fromkeys(paths))
    remembered = _read_results()
    unchanged = _unchanged(distinct, remembered)
    if not _confirm_sample(unchanged):
        warnings.warn(
            "pictures have changed without a change of their size, inode and times: all "
            f"{len(unchanged)} that seemed unchanged are read again",
            stacklevel=4,
        )
        unchanged = {}

    def check(path: Path) -> _Result:
        if path in unchanged:
            return unchanged[path]
        return _check(path, max_pixels, remembered.get(os.path.abspath(path)))

    with ThreadPoolExecutor(workers or min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        results = _with_progress(pool.map(check, distinct), len(distinct))
        checked = dict(zip(distinct, results, strict=True))
    _remember(checked, remembered)
    return checked


def _unchanged(paths: Sequence[Path], remembered: Mapping[str, _Result]) -> dict[Path, _Result]:
    """Return the remembered results of the files whose status is the same as then."""
    unchanged: dict[Path, _Result] = {}
    for path in paths:
        result = remembered.get(os.path.abspath(path))
        if result is None or result.key is None:
            continue
        with contextlib.suppress(OSError, ValueError):
            if _FileKey.of(path.stat()) == result.key:
                unchanged[path] = result
    return unchanged


def _confirm_sample(unchanged: Mapping[Path, _Result]) -> bool:
    """Tell whether a sample of the files that seem unchanged has the remembered bytes."""
    count = min(len(unchanged), max(_LEAST_SAMPLE, round(_SAMPLED_SHARE * len(unchanged))))
    # a generator of its own: training draws from the global one
    for path in random.Random().sample(list(unchanged), count):
        with contextlib.suppress(OSError):  # it is reported where it is needed
            if digest_file(path) != unchanged[path].digest:
                return False
    return True


def _with_progress(results: Iterator[_Result], total: int) -> Iterable[_Result]:
    """Show a progress bar on standard error while many results are computed."""
    console = PlainConsole(stderr=True)
    return track(
        results,
        "Checking pictures",
        total=total,
        console=console,
        transient=True,
        disable=total <= _PROGRESS_FROM or not console.is_terminal,
    )


def _check(path: Path, max_pixels: int, remembered: _Result | None) -> _Result:
    """Read a file, and decode it unless its bytes are those of the remembered result.

    Args:
        path: The file.
        max_pixels: A picture with more pixels is not decoded.
        remembered: Result of an earlier run.
    """
    try:
        for _ in range(_ATTEMPTS):
            before = check_regular(path)
            digest = digest_file(path)
            if remembered is not None and remembered.digest == digest:
                result = remembered
            else:
                result = _decode_or_reject(path, max_pixels, digest)
            key = _FileKey.of(before)
            if _FileKey.of(path.stat()) == key:
                return result._replace(key=None if _is_fresh(key) else key)
    except PictureError as error:
        # not remembered: another limit, or another user, may find the picture sound or damaged
        return _Result(None, reason=str(error))
    except OSError as error:
        return _Result(None, reason=str(PictureUnavailable(error)))
    return _Result(None, reason="changes while it is read")


def _decode_or_reject(path: Path, max_pixels: int, digest: str) -> _Result:
    """Decode a file, or return why its content is no usable picture.

    Raises:
        PictureTooLarge: The picture has more than ``max_pixels`` pixels.
        PictureUnavailable: The file cannot be read.
        PictureUndecided: A decoder or memory is lacking.
    """
    try:
        pixels, reason = _decode(path, max_pixels)
        return _Result(None, pixels, reason, digest)
    except (PictureTooLarge, PictureUnavailable, PictureUndecided):
        raise
    except PictureError as error:
        return _Result(None, reason=str(error), digest=digest)


def _is_fresh(key: _FileKey) -> bool:
    """Tell whether a file changed a moment ago, so that its times may not show a second change."""
    now = time.time_ns()
    return min(abs(now - key.mtime_ns), abs(now - key.ctime_ns)) < _CLOCK_TICK_NS


def _decode(path: Path, max_pixels: int) -> tuple[int, str]:
    """Decode a picture file.

    Returns:
        The number of its pixels, and what is missing of the file although all pixels are there.

    Raises:
        PictureError: The picture cannot be used: see `load_picture`.
    """
    with open_picture(path, max_pixels) as picture:
        pixels = picture.width * picture.height
        # reads all of a JPEG file but computes an eighth of it
        picture.draft("RGB", (_DRAFT_SIDE, _DRAFT_SIDE))
        is_whole = decode_frame(picture, max_pixels) is picture
    return pixels, "" if is_whole else _NO_END


def _results_file() -> Path:
    """Return the file of remembered results."""
    return cache_folder() / "pictures.json"


def _read_results() -> dict[str, _Result]:
    """Read the results of earlier runs, or none if the file is absent or damaged."""
    results: dict[str, _Result] = {}
    try:
        content = json.loads(_results_file().read_text(encoding="utf-8")).items()
    except (OSError, ValueError, AttributeError, RecursionError, RuntimeError):
        return results
    for path, values in content:
        with contextlib.suppress(ValueError, TypeError, OverflowError):
            results[path] = _Result.from_json(values)
    return results


def _remember(checked: Mapping[Path, _Result], remembered: Mapping[str, _Result]) -> None:
    """Add results to the remembered ones if they are new.

    A file that cannot be written is no error, since all that is lost is time. A run beside this one
    may have written results in the meantime, so the file is read again.
    """
    new: dict[str, _Result] = {}
    for path, result in checked.items():
        name = os.path.abspath(path)
        if result.digest and remembered.get(name) != result:
            new[name] = result
    if new:
        _write_results({**_read_results(), **new})


def _write_results(results: Mapping[str, _Result]) -> None:
    """Write the results, unless the file cannot be written."""
    content = {name: result.to_json() for name, result in results.items()}
    with contextlib.suppress(OSError, RuntimeError):
        remove_stale_partials(_results_file().parent)
        atomic_write_text(_results_file(), json.dumps(content))
