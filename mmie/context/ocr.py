"""Text that is written in the pictures of posts."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from mmie.context.answers import AnswerCache
from mmie.context.pictures import readable_pictures
from mmie.data.pictures import PictureError, load_picture
from mmie.types import Post
from mmie.utils.optional import require
from mmie.utils.processes import count_threads

_ROW_OVERLAP = 0.5
"""Share of a line's height by which its middle may differ from that of others of its row."""


class TextLine(NamedTuple):
    """Line of text in a picture.

    Attributes:
        text: Its characters.
        confidence: Confidence of the recogniser, from 0 to 1.
        box: Left, top, right and bottom in pixels.
    """

    text: str
    confidence: float
    box: tuple[float, float, float, float]


class PictureReader:
    """Recogniser of RapidOCR (PP-OCR on ONNX Runtime), whose weights come with its package.

    Args:
        min_confidence: Lines of lower confidence are left out.

    Raises:
        MissingPackageError: rapidocr or onnxruntime is not installed.
    """

    def __init__(self, min_confidence: float = 0.5) -> None:
        self.min_confidence = min_confidence
        require("onnxruntime", "ocr")
        self._library = require("rapidocr", "ocr")

    @property
    def identity(self) -> Mapping[str, Any]:
        """Library, and the least confidence of a line."""
        library = f"rapidocr {version('rapidocr')}"
        return {"maker": "ocr", "library": library, "min_confidence": self.min_confidence}

    def read(self, picture: Image.Image) -> str:
        """Return the text in an RGB picture in reading order, "" if there is none."""
        return lines_to_text(self.lines(picture), self.min_confidence)

    def lines(self, picture: Image.Image) -> list[TextLine]:
        """Return the lines of text in an RGB picture, in any order."""
        output = self._engine(np.asarray(picture)[:, :, ::-1])  # (height, width, 3) BGR
        if output.boxes is None:
            return []
        lines: list[TextLine] = []
        for corners, text, confidence in zip(output.boxes, output.txts, output.scores, strict=True):
            left, top = corners.min(axis=0).tolist()
            right, bottom = corners.max(axis=0).tolist()
            lines.append(TextLine(text, float(confidence), (left, top, right, bottom)))
        return lines

    @cached_property
    def _engine(self) -> Any:
        """Loaded networks. Lines of any confidence are returned."""
        return self._library.RapidOCR(
            params={
                "Global.log_level": "critical",
                "Global.text_score": 0.0,
                "EngineConfig.onnxruntime.intra_op_num_threads": count_threads(),
            }
        )


def lines_to_text(lines: Sequence[TextLine], min_confidence: float) -> str:
    """Join lines of at least some confidence in reading order."""
    confident = [line for line in lines if line.confidence >= min_confidence]
    return " ".join(line.text for line in reading_order(confident))


def reading_order(lines: Sequence[TextLine]) -> list[TextLine]:
    """Sort lines into rows from the top, and each row from the left.

    A line belongs to the row of another one if their middles differ by less than half the height
    of the smaller of both.
    """
    rows: list[list[TextLine]] = []
    for line in sorted(lines, key=_middle):
        if rows:
            first = rows[-1][0]
            height = min(_height(line), _height(first))
            if _middle(line) - _middle(first) < _ROW_OVERLAP * height:
                rows[-1].append(line)
                continue
        rows.append([line])
    ordered: list[TextLine] = []
    for row in rows:
        ordered += sorted(row, key=lambda line: line.box[0])
    return ordered


def read_pictures(
    posts: Sequence[Post], reader: PictureReader, cache: AnswerCache
) -> dict[str, str]:
    """Read the text in the pictures of posts, in each distinct picture once.

    Args:
        posts: The posts.
        reader: The recogniser.
        cache: Texts of pictures that were read before.

    Returns:
        Texts by post id, without posts whose pictures hold none or cannot be read.

    Raises:
        OSError: The cache cannot be written.
    """
    digests = readable_pictures(posts)
    contexts: dict[str, str] = {}
    for post in posts:
        texts = []
        for path in map(Path, post.images):
            if path in digests:
                texts.append(_read_once(path, digests[path], reader, cache))
        context = " ".join(filter(None, texts))
        if context:
            contexts[post.id] = context
    return contexts


def _read_once(path: Path, digest: str, reader: PictureReader, cache: AnswerCache) -> str:
    """Return the text in a picture, "" if the file has become unreadable."""
    key = cache.key({"pictures": [digest]})
    answer = cache.get(key)
    if answer is not None:
        return answer
    try:
        picture = load_picture(path)
    except PictureError:
        return ""
    return cache.add(key, reader.read(picture))


def _middle(line: TextLine) -> float:
    """Return the height of a line's middle in the picture."""
    return (line.box[1] + line.box[3]) / 2


def _height(line: TextLine) -> float:
    """Return the height of a line."""
    return line.box[3] - line.box[1]
