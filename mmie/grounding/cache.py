"""What a detector found, kept by content, so that no picture is looked at twice for the same phrases."""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mmie.data.parsing import read_lines
from mmie.data.picture_audit import cache_folder
from mmie.grounding.detection import Detection, Detector
from mmie.grounding.files import atomic_write


class Found(NamedTuple):
    """What a detector found in a picture of ``size`` (width and height in pixels)."""

    size: tuple[int, int]
    detections: list[Detection]


class DetectionCache:
    """A journal of one detector's results; a line of JSON for each picture and phrases.

    A batch is appended at once. A line that a kill cut off, or that is damaged, is passed over and its picture is
    looked at again. Another identity of the detector is another journal.

    Args:
        detector: The detector.
        folder: Folder of all journals; None takes ``grounding`` in the folder that `cache_folder` names.
    """

    def __init__(self, detector: Detector, folder: Path | None = None) -> None:
        self._reads_phrases = detector.reads_phrases
        settings = json.dumps(dict(detector.identity), sort_keys=True)
        identity = hashlib.sha256(settings.encode()).hexdigest()[:16]
        self.file = (folder or cache_folder() / "grounding") / f"{detector.name}-{identity}.jsonl"
        atomic_write(
            self.file.with_suffix(".json"),
            lambda partial: partial.write_text(settings, encoding="utf-8"),
        )
        self._found = dict(_read(self.file))

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def __getitem__(self, key: str) -> Found:
        return self._found[key]

    def key(self, digest: str, phrases: Sequence[str]) -> str:
        """What a result is kept by: the picture's content, and the phrases if the detector reads them."""
        content = [digest, *(phrases if self._reads_phrases else ())]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def add(self, found: Mapping[str, Found]) -> None:
        """Keep the results of a batch."""
        lines = "".join(
            json.dumps({"key": key, "size": own.size, "found": own.detections}) + "\n"
            for key, own in found.items()
        )
        with self.file.open("a+b") as stream:
            stream.write(_line_end(stream).encode() + lines.encode())
            stream.flush()
            os.fsync(stream.fileno())
        self._found.update(found)


def _line_end(stream: BinaryIO) -> str:
    """What ends a line that a kill cut off."""
    size = stream.seek(0, os.SEEK_END)
    if not size:
        return ""
    stream.seek(size - 1)
    return "" if stream.read(1) == b"\n" else "\n"


def _read(file: Path) -> Iterable[tuple[str, Found]]:
    """The results in a journal that are whole."""
    for line in read_lines(file) if file.exists() else []:
        try:
            record = json.loads(line)
            key, (width, height) = record["key"], map(int, record["size"])
            found = Found((width, height), [_detection(*values) for values in record["found"]])
            yield str(key), found
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            continue


def _detection(box: Sequence[int], phrase: str, score: float, detector: str) -> Detection:
    """A detection as JSON keeps it."""
    left, top, right, bottom = map(int, box)
    return Detection((left, top, right, bottom), str(phrase), float(score), str(detector))
