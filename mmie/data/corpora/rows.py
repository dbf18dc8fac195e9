"""Rows of tables as posts, which frames and datasets share.

===============  ===================================  ==============================================
part of a post   columns, the first that exists       value
===============  ===================================  ==============================================
``id``           ``id``                               string or integer; without it the row's name
``words``        ``words``, ``tokens``                list of strings
``text``         ``text``, if there are no words      string, in which offsets count characters
``tags``         ``ner_tags``, ``tags``, ``bio``      BIO or BIOES tags of the words, or their ids
``entities``     ``entities``                         list of ``{"start", "end", "type"}``, or JSON
``relations``    ``relations``                        list of ``{"head", "tail", "label"}``, or JSON
``image``        ``image``, ``picture``               see `mmie.data.embedded.picture_file`, or a
                                                      list of such
``images``       ``images``, ``pictures``             list of pictures, or JSON of paths
``crops``        ``crops``                            list of pictures, or JSON of paths
``context``      ``context``, ``caption``             string
===============  ===================================  ==============================================

Entities and relations have the form of `mmie.data.post_json`. Every cell but the text may be
missing. A picture that is both the ``image`` and one of the ``images`` counts once, as the first. A
row is one post, in order, unless it is malformed.
"""

import re
import warnings
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.own import OwnCorpus
from mmie.data.embedded import is_embedded, picture_file
from mmie.data.parsing import MalformedLine, Record
from mmie.data.post_json import post_from_json
from mmie.data.sources import BadPost
from mmie.data.values import is_missing, objects_of, parse_json_cell, plain_value
from mmie.data.words import MAX_CHARACTERS, MAX_WORDS, find_unsplit
from mmie.tags import tags_to_entities
from mmie.types import SPLITS, Post, Split
from mmie.utils.text import safe_repr

COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id",),
    "words": ("words", "tokens"),
    "text": ("text",),
    "tags": ("ner_tags", "tags", "bio"),
    "entities": ("entities",),
    "relations": ("relations",),
    "image": ("image", "picture"),
    "images": ("images", "pictures"),
    "crops": ("crops",),
    "context": ("context", "caption"),
}
"""Parts of a post, each with the columns that may hold it."""
SPLIT_NAMES: dict[Split, tuple[str, ...]] = {
    "train": ("train",),
    "valid": ("valid", "validation", "val", "dev"),
    "test": ("test",),
}
"""Names that the splits of tables may have."""
_PICTURES = ("image", "images", "crops")
_LISTS = ("entities", "relations", "images", "crops")
_TAG = re.compile(r"O|[BIES]-.+")


class RowCorpus(OwnCorpus):
    """Posts in the rows of a table for each split.

    A subclass lists the columns of a split and yields its rows.

    Args:
        root: Folder that paths of pictures are relative to and must not lead out of.
        columns: Columns by the part of a post, for columns of other names than `COLUMNS`; None in
            place of a name leaves the part out.
        tag_names: Tags in the order of their ids, for a column of ids without names.
        strict: Whether a malformed row is an error. Otherwise it is skipped.
        max_missing: Largest share of the pictures that may be missing or unreadable.
        entity_types: See `OwnCorpus`.
        relation_labels: See `OwnCorpus`.
        follow_links: See `OwnCorpus`.

    Raises:
        CorpusError: ``columns`` names a part that posts do not have.
    """

    def __init__(
        self,
        root: str | Path,
        columns: Mapping[str, str | None] | None = None,
        tag_names: Sequence[str] | None = None,
        strict: bool = True,
        max_missing: float = 0.05,
        entity_types: list[str] | None = None,
        relation_labels: list[str] | None = None,
        follow_links: bool = False,
    ) -> None:
        super().__init__(root, strict, max_missing, entity_types, relation_labels, follow_links)
        self._columns = dict(columns or {})
        self._tag_names = tag_names
        self._embedded: dict[Path, str] = {}
        unknown = sorted(set(self._columns).difference(COLUMNS))
        if unknown:
            raise CorpusError(
                f"columns names {', '.join(map(repr, unknown))}: expected parts of a post, "
                f"{', '.join(COLUMNS)}"
            )

    def row_of_picture(self, picture: Path) -> str | None:
        """Return the first row that holds a picture as bytes, or None for a file."""
        return self._embedded.get(picture)

    @abstractmethod
    def _column_names(self, split: Split) -> Sequence[str]:
        """Return the names of a split's columns."""

    @abstractmethod
    def _rows(self, split: Split, columns: Sequence[str]) -> Iterator[tuple[str, Sequence[Any]]]:
        """Yield the name of each row of a split and its cells in some columns.

        Raises:
            CorpusError: The split cannot be read.
        """

    def _items(self, split: Split) -> Iterator[Post | BadPost]:
        place = self.place(split)
        parts = self._find_parts(split)
        for name, cells in self._rows(split, list(parts.values())):
            row = f"{place}, row {name}"
            try:
                yield self._to_post(dict(zip(parts, cells, strict=True)), name, row)
            except MalformedLine as error:
                yield BadPost.of(row, error)

    def _find_parts(self, split: Split) -> dict[str, str]:
        """Map the parts of a post to the columns of a split, and warn of other columns.

        Raises:
            CorpusError: A column is missing, or two columns hold the labels of entities.
        """
        names = self._column_names(split)
        parts = find_columns(names, self._columns, self.place(split))
        ignored = [repr(name) for name in names if name not in parts.values()]
        if ignored:
            warnings.warn(
                f"{self.place(split)}: columns ignored: {', '.join(ignored)}", stacklevel=6
            )
        return parts

    def _to_post(self, cells: Mapping[str, Any], name: str, row: str) -> Post:
        """Convert the cells of a row to a post.

        Args:
            cells: Cells by the part of a post.
            name: Id of the post if the row has none.
            row: The row, for messages about its pictures.

        Raises:
            MalformedLine: A cell does not follow the table of the module.
        """
        record: Record = {"id": name}
        for part, cell in cells.items():
            value = cell if part in _PICTURES else plain_value(cell)
            if part in _LISTS and isinstance(value, str):
                value = parse_json_cell(value, f"'{part}' to be a list or its JSON")
            if not is_missing(value):
                record[part] = objects_of(value) if part in _LISTS else value
        named = [record.pop(part, None) for part in _PICTURES]
        tags = record.pop("tags", None)
        post = post_from_json(record, self.root)
        if find_unsplit(post.text or "", post.offsets) is not None:
            expected = f"a text of at most {MAX_CHARACTERS} characters and {MAX_WORDS} words"
            raise MalformedLine(expected, f"{len(post.text or '')} characters")
        if tags is not None:
            post = replace(post, entities=tuple(tags_to_entities(self._check_tags(tags, post))))
        image, images, crops = named
        holds_several = isinstance(image, np.ndarray) and image.dtype == object
        if holds_several or isinstance(image, list | tuple):
            whole = list(_items_of(image, "image"))
        else:
            whole = [image]
        whole += _items_of(images, "images")
        files = tuple(dict.fromkeys(self._pictures(whole, row)))
        return replace(
            post,
            image=next(iter(files), None),
            more_images=files[1:],
            crops=self._pictures(_items_of(crops, "crops"), row),
        )

    def _pictures(self, values: Iterable[object], row: str) -> tuple[Path, ...]:
        """Return the files of those of some values that are pictures.

        Raises:
            MalformedLine: A value is no picture, or its path leads out of the root.
        """
        files = [self._picture(value, row) for value in values if value is not None]
        return tuple(filter(None, files))

    def _picture(self, value: object, row: str) -> Path | None:
        """Return the file of a picture, if there is one, and remember the row of given bytes.

        Raises:
            MalformedLine: The value is no picture, or its path leads out of the root.
        """
        picture = picture_file(value, self.root)
        if picture is not None and is_embedded(picture):
            self._embedded.setdefault(picture, row)
        return picture

    def _check_tags(self, tags: object, post: Post) -> list[str]:
        """Return the tags of a post's words by name.

        Raises:
            MalformedLine: Tags are more or fewer than words, an id has no name, or a tag does
                not have the form of BIO or BIOES tags.
        """
        if not isinstance(tags, list) or len(tags) != len(post.words):
            raise MalformedLine(f"a list of {len(post.words)} tags", safe_repr(tags))
        named: list[str] = []
        for tag in tags:
            if type(tag) is int and self._tag_names and 0 <= tag < len(self._tag_names):
                tag = self._tag_names[tag]
            if type(tag) is int:
                raise MalformedLine("an id among those of tag_names", safe_repr(tag))
            if not isinstance(tag, str) or not _TAG.fullmatch(tag):
                raise MalformedLine("a tag such as O, B-PER or I-LOC", safe_repr(tag))
            named.append(tag)
        return named


def find_columns(
    names: Sequence[str], chosen: Mapping[str, str | None], place: str
) -> dict[str, str]:
    """Map the parts of a post to the columns of a table.

    Args:
        names: Columns of the table.
        chosen: Columns that the user has chosen, by part; None leaves a part out.
        place: Where the table is read from, for errors.

    Raises:
        CorpusError: A chosen column is missing, there is neither words nor text, or both tags and
            entities hold the labels.

    >>> find_columns(["tokens", "text", "ner_tags", "url"], {}, "train")
    {'words': 'tokens', 'tags': 'ner_tags'}
    """
    parts: dict[str, str] = {}
    listed = ", ".join(map(repr, names))
    for part, candidates in COLUMNS.items():
        if part in chosen:
            column = chosen[part]
            if column is not None and column not in names:
                raise CorpusError(f"{place}: expected the column '{column}', found {listed}")
        else:
            column = next((name for name in candidates if name in names), None)
        if column is not None:
            parts[part] = column
    if "words" in parts and "text" not in chosen:
        parts.pop("text", None)
    if "words" not in parts and "text" not in parts:
        raise CorpusError(
            f"{place}: expected a column 'words', 'tokens' or 'text', or one that is named by "
            f"columns, found {listed}"
        )
    if "tags" in parts and "entities" in parts:
        raise CorpusError(
            f"{place}: the columns '{parts['tags']}' and '{parts['entities']}' both hold entities: "
            "leave one out by columns, {'tags': None} or {'entities': None}"
        )
    return parts


def find_splits(
    names: Iterable[str], chosen: Mapping[str, str] | None, place: str
) -> dict[Split, str]:
    """Map the splits of a corpus to the splits of a table.

    Args:
        names: Splits of the table.
        chosen: Splits of the table by that of the corpus; None finds them by `SPLIT_NAMES`.
        place: Where the table is read from, for errors.

    Raises:
        CorpusError: A chosen split is missing or none is found, or two have one meaning.
    """
    names = list(names)
    listed = ", ".join(map(repr, names))
    if chosen is not None:
        for split, name in chosen.items():
            if split not in SPLITS or name not in names:
                raise CorpusError(
                    f"{place}: splits gives '{name}' for '{split}': expected one of {listed} for "
                    f"one of {', '.join(SPLITS)}"
                )
        return {split: chosen[split] for split in SPLITS if split in chosen}
    found: dict[Split, str] = {}
    for split, candidates in SPLIT_NAMES.items():
        present = [name for name in candidates if name in names]
        if len(present) > 1:
            raise CorpusError(
                f"{place}: {' and '.join(present)} are both {split}: name one by splits"
            )
        if present:
            found[split] = present[0]
    if not found:
        raise CorpusError(f"{place}: expected a split such as train, found {listed or 'none'}")
    return found


def _items_of(pictures: object, part: str) -> Iterable[object]:
    """Return the pictures of a cell.

    Raises:
        MalformedLine: The cell is not a list.
    """
    if pictures is None:
        return []
    if hasattr(pictures, "tolist"):
        pictures = list(pictures)  # type: ignore[call-overload]
    if not isinstance(pictures, list | tuple):
        raise MalformedLine(f"'{part}' to be a list of pictures", safe_repr(pictures))
    return pictures
