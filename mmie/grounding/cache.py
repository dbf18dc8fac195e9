"""Content-addressed cache of detections: a detector sees a picture once for the same phrases."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mmie.data.parsing import read_lines
from mmie.data.picture_audit import cache_folder
from mmie.grounding.detection import Detection, Detector
from mmie.grounding.errors import GroundingError, write_errors
from mmie.utils.files import append_lines, atomic_write_text
from mmie.utils.partial_files import remove_stale_partials


class PictureDetections(NamedTuple):
    """The detections in one picture.

    Attributes:
        size: Width and height of the picture in pixels.
        detections: The detections, in any order.
    """

    size: tuple[int, int]
    detections: list[Detection]


_CHECKSUM_DIGITS = 16
"""Hexadecimal digits of the checksum of a line."""
_OLD_FIELDS = {"key", "size", "found"}
"""Fields of a line of version 0.1."""


class DetectionCache:
    """Journal of one detector's results, with a line of JSON for each picture and its phrases.

    The results of a batch are appended at once. A line that is damaged, which its checksum shows,
    or that was cut off when the process was killed, is ignored, so that its picture is detected
    again. Lines of version 0.1 have no checksum. Detectors of different identity have different
    journals. A journal that holds all results needs no right to write.

    Args:
        detector: The detector.
        folder: Folder of all journals; None is ``grounding`` in the folder that `cache_folder`
            returns.

    Raises:
        GroundingError: The journal cannot be read, or there is none and the folder cannot be
            written.
        CacheFolderUnknown: No folder is given, and the package's own is unknown.
    """

    def __init__(self, detector: Detector, folder: Path | None = None) -> None:
        self._reads_phrases = detector.reads_phrases
        self._settings = json.dumps(dict(detector.identity), sort_keys=True)
        identity = hashlib.sha256(self._settings.encode()).hexdigest()[:16]
        folder = folder or cache_folder() / "grounding"
        self.file = folder / f"{detector.name}-{identity}.jsonl"
        self._results = dict(read_journal(self.file))
        if not self._results:
            self.check_writable()

    def __contains__(self, key: str) -> bool:
        return key in self._results

    def __getitem__(self, key: str) -> PictureDetections:
        return self._results[key]

    def key(self, digest: str, phrases: Sequence[str]) -> str:
        """Return the key of a result.

        Args:
            digest: Digest of the picture's content.
            phrases: The phrases, which count only if the detector reads phrases.
        """
        content = [digest, *phrases] if self._reads_phrases else [digest]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def check_writable(self) -> None:
        """Raise if results cannot be added.

        Raises:
            GroundingError: The journal or its folder cannot be written.
        """
        settings_file = self.file.with_suffix(".json")
        with write_errors(settings_file):
            if not settings_file.exists():
                remove_stale_partials(settings_file.parent)
                atomic_write_text(settings_file, self._settings)
        with write_errors(self.file), self.file.open("ab"):
            pass

    def add(self, results: Mapping[str, PictureDetections]) -> None:
        """Append the results of a batch to the journal.

        Args:
            results: Detections by key: see `key`.

        Raises:
            GroundingError: The journal cannot be written.
        """
        lines = []
        for key, result in results.items():
            record = {"key": key, "size": result.size, "found": result.detections}
            lines.append(json.dumps({**record, "sum": _checksum(record)}) + "\n")
        with write_errors(self.file):
            append_lines(self.file, lines, follow_links=True)
        self._results.update(results)


def read_journal(file: Path) -> Iterator[tuple[str, PictureDetections]]:
    """Yield the keys and results of a journal's valid lines, or nothing without such a file.

    Raises:
        GroundingError: The file cannot be read.
    """
    try:
        lines = read_lines(file)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise GroundingError(f"{file}: cannot be read: {error.strerror or error}") from error
    for line in lines:
        try:
            record = json.loads(line)
            if set(record) != _OLD_FIELDS and record.pop("sum") != _checksum(record):
                continue
            key = str(record["key"])
            width, height = map(int, record["size"])
            detections = []
            for box, phrase, score, detector in record["found"]:
                left, top, right, bottom = map(int, box)
                box = (left, top, right, bottom)
                detections.append(Detection(box, str(phrase), float(score), str(detector)))
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            continue
        yield key, PictureDetections((width, height), detections)


def _checksum(record: Mapping[str, object]) -> str:
    """Compute the checksum of a line's record."""
    content = json.dumps(record, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:_CHECKSUM_DIGITS]
