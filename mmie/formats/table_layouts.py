"""Layouts of tables: a row per post, per span or per word."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mmie.data.parsing import MalformedLine, Record
from mmie.data.sources import BadPost
from mmie.formats.base import FormatError, ReadOptions
from mmie.formats.cells import Row, cell_of, integer_of, list_of, words_of
from mmie.formats.inline import has_marks, read_marks
from mmie.formats.keys import NAMES, SPAN_NAMES, find_parts
from mmie.formats.records import list_objects
from mmie.formats.spans import read_entities, read_relations
from mmie.formats.tagging import lack_prefixes, read_tags
from mmie.utils.text import truncate

_POST = {**NAMES, "inline": ("annotated_text", "marked_text")}
_SPAN = {
    **{part: NAMES[part] for part in ("id", "text", "image", "images", "context", "split")},
    **SPAN_NAMES,
}
_WORD = {
    "id": ("sentence", "sentence_id", "sent_id", *NAMES["id"]),
    "words": ("word", "token"),
    "tags": ("tag", "ner_tag", "ner", "bio", "label"),
    "image": NAMES["image"],
    "images": NAMES["images"],
    "context": NAMES["context"],
    "split": NAMES["split"],
}
_PARTS = ("id", "image", "context")
"""Parts that are texts in every layout."""


@dataclass(frozen=True, slots=True)
class TableLayout:
    """Columns of a table, and what its rows are.

    Attributes:
        unit: ``post``, ``span`` or ``word``.
        header: Names of the columns.
        parts: Columns by the part of a post.
        bare: Whether tags are types without prefixes.
    """

    unit: str
    header: Sequence[str]
    parts: Mapping[str, str]
    bare: bool = False

    def index(self, part: str) -> int | None:
        """Return the index of the column of a part, or None."""
        return self.header.index(self.parts[part]) if part in self.parts else None

    def cell(self, row: Row, part: str) -> str:
        """Return the cell of a part in a row, which is empty without such a column."""
        return cell_of(row, self.index(part))


def find_layout(path: Path, rows: Sequence[Row], options: ReadOptions) -> TableLayout:
    """Find the layout of a table by the names of its columns.

    Raises:
        FormatError: No column holds a text or words, or two have the same name.
    """
    if not rows or rows[0].fault or not any(rows[0].cells):
        raise FormatError(f"{path}: expected a first row with the names of columns, found none")
    header = [cell.strip() for cell in rows[0].cells]
    find_parts(header, {**_POST, **_SPAN, **_WORD}, options.columns)  # a wrong choice is refused
    layout = _choose_layout(header, rows[1:], options.columns)
    if layout is None:
        names = truncate(", ".join(map(repr, header)))
        raise FormatError(
            f"{path}: expected a column with a text or words, found {names}: "
            "name it by --columns text=NAME"
        )
    repeated = [name for name in layout.parts.values() if header.count(name) > 1]
    if repeated:
        raise FormatError(f"{path}: expected one column '{truncate(repeated[0])}', found several")
    if options.split is not None and "split" not in layout.parts:
        raise FormatError(f"{path}: expected a column 'split' for --split, found none")
    return replace(layout, bare=lack_prefixes(_all_tags(layout, rows[1:])))


def read_rows(
    layout: TableLayout, rows: Iterable[Row], options: ReadOptions
) -> Iterator[Record | BadPost]:
    """Yield a record for each post of a table.

    Args:
        layout: Layout of the table.
        rows: Rows after that of the names.
        options: Names of tags, and the split to read.
    """
    readers: dict[str, Callable[[TableLayout, Sequence[Row], ReadOptions], Record]] = {
        "post": _post_of_row,
        "span": _post_of_spans,
        "word": _post_of_words,
    }
    for group in _groups(layout, rows):
        first = group[0]
        if options.split is not None and layout.cell(first, "split") != options.split:
            continue
        place = f"row {first.number}"
        try:
            for row in group:
                _check_row(layout, row)
            yield readers[layout.unit](layout, group, options)
        except MalformedLine as error:
            if error.line is not None:
                place = f"row {error.line}"
            yield BadPost.of(place, error, layout.cell(first, "id"))


def _choose_layout(
    header: Sequence[str], rows: Sequence[Row], chosen: Mapping[str, str]
) -> TableLayout | None:
    """Return the layout whose columns a table has, or None.

    Args:
        header: Names of the columns.
        rows: Rows after that of the names.
        chosen: Columns that the user has chosen, by part.
    """
    found = []
    for known in (_SPAN, _WORD, _POST):
        among = {part: name for part, name in chosen.items() if part in known}
        found.append(find_parts(header, known, among))
    spans, words, posts = found
    if {"text", "start", "end"} <= spans.keys():
        return TableLayout("span", header, spans)
    if {"words", "tags"} <= words.keys():
        layout = TableLayout("word", header, words)
        cells = [layout.cell(row, "words").lstrip() for row in rows]
        if not any(cell.startswith("[") and "," in cell for cell in cells):  # lists of words
            return layout
    if {"text", "words", "inline"} & posts.keys():
        return TableLayout("post", header, _post_parts(header, posts, rows, chosen))
    return None


def _post_parts(
    header: Sequence[str], parts: dict[str, str], rows: Sequence[Row], chosen: Mapping[str, str]
) -> dict[str, str]:
    """Return the columns of a table of posts, whose texts may hold marks of entities.

    Args:
        header: Names of the columns.
        parts: Columns by part, which are changed.
        rows: Rows after that of the names.
        chosen: Columns that the user has chosen, by part.
    """
    labelled = {"tags", "entities", "inline"} & parts.keys()
    if "tags" in parts and "entities" in parts:
        if "words" in parts and "entities" not in chosen:
            del parts["entities"]
        else:
            del parts["tags"]
    if "tags" in parts and "words" not in parts:
        if "text" not in chosen and "tags" not in chosen:
            del parts["tags"]
        else:
            parts["words"] = parts.pop("text")
    if not labelled and "text" in parts and "text" not in chosen:
        index = header.index(parts["text"])
        if any(has_marks(cell_of(row, index)) for row in rows):
            parts["inline"] = parts.pop("text")
    return parts


def _all_tags(layout: TableLayout, rows: Sequence[Row]) -> list[object]:
    """Return the tags of all rows, apart from cells that are malformed."""
    tags: list[object] = []
    for row in rows:
        cell = layout.cell(row, "tags")
        if layout.unit != "post":
            tags.append(cell)
            continue
        with suppress(MalformedLine):
            tags += words_of(cell, "tags")
    return tags


def _groups(layout: TableLayout, rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Yield the rows of each post.

    Rows of spans belong together if they have the same id, or else the same text, one after the
    other. Blank rows are skipped, and end a post of words without an id.
    """
    group: list[Row] = []
    key: str | None = None
    for row in rows:
        if not row.fault and not any(row.cells):
            if layout.unit == "word":
                key = None
            continue
        new_key = layout.cell(row, "id") or None
        if layout.unit == "span" and new_key is None:
            new_key = layout.cell(row, "text")
        continues = key is not None and new_key == key
        if layout.unit == "word":
            continues = bool(group) and (new_key == key or new_key is None)
            continues &= key is not None or "id" not in layout.parts
        if group and (layout.unit == "post" or not continues):
            yield group
            group = []
        group.append(row)
        if new_key is not None or layout.unit != "word":
            key = new_key
    if group:
        yield group


def _check_row(layout: TableLayout, row: Row) -> None:
    """Raise if a row cannot be read.

    Raises:
        MalformedLine: The row has too many cells, is no UTF-8, or its quotes are ambiguous.
    """
    if row.fault:
        expected, _, found = row.fault.partition(", found ")
        raise MalformedLine(expected, found, row.number, row.kind)
    if any(row.cells[len(layout.header) :]):
        found = f"{len(row.cells)}"
        raise MalformedLine(f"{len(layout.header)} cells", found, row.number, "row")


def _common_parts(layout: TableLayout, row: Row) -> Record:
    """Return the parts of a post that every layout has.

    Raises:
        MalformedLine: The cell of several pictures is no list.
    """
    record: Record = {}
    for part in _PARTS:
        cell = layout.cell(row, part)
        if cell:
            record[part] = cell
    if images := layout.cell(row, "images"):
        record["images"] = list_of(images, "images")
    return record


def _post_of_row(layout: TableLayout, rows: Sequence[Row], options: ReadOptions) -> Record:
    """Return the record of a row that holds a post.

    Raises:
        MalformedLine: A cell is malformed.
    """
    (row,) = rows
    record = _common_parts(layout, row)
    words = layout.cell(row, "words")
    marked = layout.cell(row, "inline")
    tokens: Any = layout.cell(row, "text")
    if words:
        tokens = record["words"] = words_of(words, "words")
        if not isinstance(tokens, list) or not all(isinstance(word, str) for word in tokens):
            raise MalformedLine("'words' to be a list of texts", words)
    elif marked:
        record["text"], record["entities"] = read_marks(marked)
    else:
        record["text"] = tokens
    _add_labels(record, layout, row, tokens, options.tag_names)
    if crops := layout.cell(row, "crops"):
        record["crops"] = list_of(crops, "crops")
    return record


def _add_labels(
    record: Record, layout: TableLayout, row: Row, tokens: str | list[str], tag_names: Sequence[str]
) -> None:
    """Add the entities and relations of a row to the record of its post.

    Args:
        record: The record, which may have entities that are marked within the text.
        layout: Layout of the table.
        row: The row.
        tokens: Words or text of the post.
        tag_names: Names of tags in the order of their ids.

    Raises:
        MalformedLine: A cell is malformed.
    """
    tags, entities = layout.cell(row, "tags"), layout.cell(row, "entities")
    if tags:
        values = words_of(tags, "tags")
        if not isinstance(values, list):
            raise MalformedLine("'tags' to be a list", tags)
        record |= read_tags(values, len(tokens), tag_names, layout.bare)
    elif entities:
        record["entities"] = read_entities(list_of(entities, "entities"), tokens)
    if relations := layout.cell(row, "relations"):
        known = list_objects(record, "entities")
        record["relations"] = read_relations(list_of(relations, "relations"), known)


def _post_of_spans(layout: TableLayout, rows: Sequence[Row], options: ReadOptions) -> Record:
    """Return the record of the rows that hold a post's spans.

    Raises:
        MalformedLine: A cell is malformed, or the texts differ.
    """
    record = _common_parts(layout, rows[0])
    text = layout.cell(rows[0], "text")
    items = []
    for row in rows:
        if layout.cell(row, "text") not in (text, ""):
            raise MalformedLine("the same text in all rows of a post", "another one", row.number)
        start, end = layout.cell(row, "start"), layout.cell(row, "end")
        kind, covered = layout.cell(row, "type"), layout.cell(row, "span")
        if not (start or end or kind):
            continue
        item: dict[str, Any] = {"type": kind}
        try:
            item["start"] = integer_of(start, "start")
            item["end"] = integer_of(end, "end")
        except MalformedLine as error:
            error.line = row.number
            raise
        if covered:
            item["text"] = covered
        items.append(item)
    return {**record, "text": text, "entities": read_entities(items, text)}


def _post_of_words(layout: TableLayout, rows: Sequence[Row], options: ReadOptions) -> Record:
    """Return the record of the rows that hold a post's words.

    Raises:
        MalformedLine: A word is empty, or a tag is malformed.
    """
    words, tags = [], []
    for row in rows:
        word = layout.cell(row, "words")
        if not word:
            raise MalformedLine("a word", "an empty cell", row.number)
        words.append(word)
        tags.append(layout.cell(row, "tags"))
    record = {**_common_parts(layout, rows[0]), "words": words}
    return record | read_tags(tags, len(words), options.tag_names, layout.bare)
