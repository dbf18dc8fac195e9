"""Audit of picture files: each is decoded once, and the result is remembered between runs.

Results lie in ``$MMIE_CACHE/pictures.json`` (or ``~/.cache/mmie/pictures.json``), by path. They
hold as long as the size and the modification time of the file stay the same.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, Self

from rich.progress import track

from mmie.data.pictures import (
    MAX_PIXELS,
    PictureError,
    PictureTooLarge,
    decode_frame,
    open_picture,
)
from mmie.utils.files import atomic_write_text
from mmie.utils.terminal import PlainConsole

_MAX_THREADS = 8
_PROGRESS_FROM = 500
"""Number of pictures from which a progress bar is shown."""
_DRAFT_SIDE = 64
"""Side in pixels of the reduced picture that is enough to find damage in a JPEG file."""


class _FileKey(NamedTuple):
    """State of a file, which changes when the file does."""

    size: int
    mtime_ns: int


class _Result(NamedTuple):
    """Result of decoding a picture file.

    Attributes:
        key: State of the file; None for a result that must not be remembered.
        pixels: Pixels of a readable picture.
        reason: Why the picture is unreadable, or "".
        digest: SHA-256 of a readable file.
    """

    key: _FileKey | None
    pixels: int = 0
    reason: str = ""
    digest: str = ""

    @classmethod
    def from_json(cls, values: object) -> Self:
        """Read the values that `to_json` returned.

        Raises:
            ValueError: The values are not those of a result.
        """
        match values:
            case [int(size), int(mtime_ns), int(pixels), str(reason), str(digest)]:
                return cls(_FileKey(size, mtime_ns), pixels, reason, digest)
        raise ValueError("not a remembered result")

    def to_json(self) -> list[int | str]:
        """Convert to a list for JSON."""
        assert self.key is not None
        return [*self.key, self.pixels, self.reason, self.digest]

    def problem(self, max_pixels: int) -> str:
        """Return why the picture is unreadable under a limit, or "" if it is readable."""
        if not self.reason and self.pixels > max_pixels:
            return str(PictureTooLarge.at(max_pixels))
        return self.reason


def audit_pictures(
    paths: Iterable[Path], max_pixels: int = MAX_PIXELS, workers: int | None = None
) -> dict[Path, str]:
    """Find the files that cannot be used as pictures.

    Every distinct file is decoded fully once, unless an earlier run did so. A missing file is
    searched for again each time.

    Args:
        paths: Picture files.
        max_pixels: A picture with more pixels counts as unreadable.
        workers: Number of threads; None takes one per core, 8 at most.

    Returns:
        Reasons as `load_picture` gives them, by path, in the order of ``paths``.
    """
    unreadable: dict[Path, str] = {}
    for path, result in _check_all(paths, max_pixels, workers).items():
        problem = result.problem(max_pixels)
        if problem:
            unreadable[path] = problem
    return unreadable


def picture_digests(paths: Iterable[Path], max_pixels: int = MAX_PIXELS) -> dict[Path, str]:
    """Compute the SHA-256 of every file that can be used as a picture.

    Files that an audit has decoded before are not read again.

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
    """
    folder = os.environ.get("MMIE_CACHE")
    if folder:
        return Path(folder)
    return Path.home() / ".cache" / "mmie"


def _check_all(
    paths: Iterable[Path], max_pixels: int, workers: int | None = None
) -> dict[Path, _Result]:
    """Check every distinct file, in threads, and remember the results."""
    distinct = list(dict.fromkeys(paths))
    remembered = _read_results()

    def check(path: Path) -> _Result:
        return _check(path, max_pixels, remembered.get(os.path.abspath(path)))

    with ThreadPoolExecutor(workers or min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        results = _with_progress(pool.map(check, distinct), len(distinct))
        checked = dict(zip(distinct, results, strict=True))
    _remember(checked, remembered)
    return checked


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
    """Decode a file, unless the remembered result still holds.

    Args:
        path: The file.
        max_pixels: A picture with more pixels is not decoded.
        remembered: Result of an earlier run.
    """
    try:
        status = path.stat()
    except (OSError, ValueError):
        return _Result(None, reason="missing")
    key = _FileKey(status.st_size, status.st_mtime_ns)
    if remembered is not None and remembered.key == key:
        return remembered
    try:
        pixels = _decode(path, max_pixels)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except PictureTooLarge as error:
        # not remembered, since under another limit the picture may be sound or damaged
        return _Result(None, reason=str(error))
    except PictureError as error:
        return _Result(key, reason=str(error))
    except OSError:  # the file was removed in the meantime
        return _Result(None, reason="missing")
    return _Result(key, pixels, digest=digest)


def _decode(path: Path, max_pixels: int) -> int:
    """Decode a picture file and return the number of its pixels.

    Raises:
        PictureError: The picture cannot be used: see `load_picture`.
    """
    with open_picture(path, max_pixels) as picture:
        pixels = picture.width * picture.height
        # reads all of a JPEG file but computes an eighth of it
        picture.draft("RGB", (_DRAFT_SIDE, _DRAFT_SIDE))
        decode_frame(picture, max_pixels)
    return pixels


def _results_file() -> Path:
    """Return the file of remembered results."""
    return cache_folder() / "pictures.json"


def _read_results() -> dict[str, _Result]:
    """Read the results of earlier runs, or none if the file is absent or damaged."""
    try:
        content = json.loads(_results_file().read_text(encoding="utf-8"))
        return {path: _Result.from_json(values) for path, values in content.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, RuntimeError):
        return {}


def _remember(checked: Mapping[Path, _Result], remembered: Mapping[str, _Result]) -> None:
    """Add results to the remembered ones if they are new.

    A file that cannot be written is no error, since all that is lost is time. A run beside this one
    may have written results in the meantime, so the file is read again.
    """
    new: dict[str, _Result] = {}
    for path, result in checked.items():
        name = os.path.abspath(path)
        if result.key is not None and remembered.get(name) != result:
            new[name] = result
    if not new:
        return
    results = {**_read_results(), **new}
    content = {name: result.to_json() for name, result in results.items()}
    with contextlib.suppress(OSError, RuntimeError):
        atomic_write_text(_results_file(), json.dumps(content))
