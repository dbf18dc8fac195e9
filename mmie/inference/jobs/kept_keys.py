"""Keys of a post that its line of results keeps, so that the line is a post for training again.

==========================================  ======================================================
key of the result                           content
==========================================  ======================================================
``image`` or ``images``, ``crops``          paths of the pictures, relative to the file of results
``context``                                 as in the post
``words``                                   words of the text, if it would be split differently
``gold_entities``, ``gold_relations``       those of the post, whose place the results take
any other                                   keys and columns of the post that are not read; one
                                            that has the name of a key above, or of a result, is
                                            called ``input_`` and its name
==========================================  ======================================================
"""

import os
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmie.data.parsing import lies_inside
from mmie.data.post_json import KEYS, RESULT_KEYS
from mmie.data.records import span_record
from mmie.data.words import split_offsets
from mmie.types import Entity, Extraction, Post

_PREFIX = "input_"
"""Prefix of a key whose name has another meaning in a result."""


class KeptKeys:
    """Adds the keys of posts to their extractions, for one file of results.

    Args:
        out: The file, to whose folder the paths of pictures are relative.
    """

    def __init__(self, out: Path) -> None:
        self._folder = out.parent
        self._has_warned = False

    def add(self, extraction: Extraction, post: Post) -> Extraction:
        """Return the extraction with the keys of its post.

        A picture outside the folder of the results causes one warning.
        """
        pictures: dict[str, Any] = {"crops": [self._relative(crop) for crop in post.crops]}
        images = [self._relative(image) for image in post.images]
        if len(images) > 1:
            pictures["images"] = images
        elif images:
            pictures["image"] = images[0]
        return replace(extraction, extra=kept_keys(extraction, post, pictures))

    def _relative(self, picture: Path) -> str:
        """Return the path of a picture relative to the folder of the results."""
        if not self._has_warned and not lies_inside(picture, self._folder):
            self._has_warned = True
            warnings.warn(
                f"{picture} lies outside {self._folder.resolve()}, the folder of the results: "
                "JsonlCorpus and mmie extract will refuse to read the results with such pictures; "
                "write them to a folder that holds the pictures",
                stacklevel=4,
            )
        return Path(os.path.relpath(picture, self._folder)).as_posix()


def kept_keys(
    extraction: Extraction, post: Post[Any], pictures: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the keys of a post that its result keeps.

    Gold labels have the form of `mmie.data.records`, without probabilities, and offsets in the text
    of the extraction. An extraction that failed has no words, and keeps none of them.

    Args:
        extraction: The result.
        post: The post.
        pictures: Its paths of pictures as they are written, by key.
    """
    kept: dict[str, Any] = {}
    if extraction.offsets and extraction.offsets != split_offsets(extraction.text):
        kept["words"] = [extraction.text[start:end] for start, end in extraction.offsets]
    kept |= {**pictures, "context": post.context}
    if extraction.offsets:
        kept["gold_entities"] = [_span(extraction, entity) for entity in post.entities]
        kept["gold_relations"] = []
        for relation in post.relations:
            head, tail = _span(extraction, relation.head), _span(extraction, relation.tail)
            kept["gold_relations"].append({"head": head, "label": relation.label, "tail": tail})
    kept = {key: value for key, value in kept.items() if value not in (None, [])}
    for key, value in post.extra.items():
        while key in KEYS | RESULT_KEYS or key in kept:
            key = f"{_PREFIX}{key}"
        kept[key] = value
    return kept


def _span(extraction: Extraction, entity: Entity) -> dict[str, Any]:
    """Return the record of an entity of the post, which counts words."""
    start = extraction.offsets[entity.start][0]
    end = extraction.offsets[entity.end - 1][1]
    return span_record(extraction.text[start:end], entity.type, start, end)
