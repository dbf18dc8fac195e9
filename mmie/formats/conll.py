"""Words and tags in columns: CoNLL-2003, WNUT, the Twitter corpora, Twitter-GMNER, FMNERG.

A line is a word with its tag and any further columns, in any order, separated by tabs or blanks. A
blank line ends a post. ``IMGID:<id>`` or ``# id = <id>`` before the words gives the post's id;
other comments and ``-DOCSTART-`` are counted. The schemes of `mmie.formats.tagging` are read.

The column of tags is the one whose cells are all ``O`` or a prefix and a type, with the most ``O``;
that of words is the one with the most distinct values of the others. ``--columns`` sets ``words``
and ``tags`` to other numbers, from 1.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmie.data.parsing import MalformedLine, Record, check_utf8, check_words
from mmie.data.post_json import post_from_json
from mmie.data.sources import BadPost
from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.cleaning import count_unheld, without_pictures
from mmie.formats.linking import count_probabilities
from mmie.formats.pictures import PictureFinder
from mmie.formats.tagging import is_tag, name_scheme, read_tags
from mmie.formats.texts import read_text, write_lines
from mmie.tags import OUTSIDE, entities_to_tags
from mmie.utils.text import safe_repr

_IMGID = "IMGID:"
_DOCUMENT = "-DOCSTART-"
_COMMENT = re.compile(r"#\s+(?P<key>[\w.]+)\s*=\s*(?P<value>.*)|#\s+id\s+(?P<id>\S+)(\s.*)?")
_ID_KEYS = ("id", "sent_id", "tweet_id", "post_id")
_MIN_SHARE = 0.95
"""Least share of the lines that have the number of columns which the file is read with."""
_HELD = {"id", "words", "text", "entities"}
"""Keys of a record that are written."""
_BREAKS = re.compile(r"[\t\n\r]")


@dataclass(slots=True)
class _Block:
    """Lines of a post.

    Attributes:
        line: Number of the first one, from 1.
        name: Id of the post; empty if the file gives none.
        marked: Whether it begins with ``IMGID:``.
        numbers: Number of each line of a word.
        rows: Cells of each line of a word.
        fault: What is wrong with the block as a whole, or None.
    """

    line: int
    name: str = ""
    marked: bool = False
    numbers: list[int] = field(default_factory=list)
    rows: list[list[str]] = field(default_factory=list)
    fault: MalformedLine | None = None


@dataclass(frozen=True, slots=True)
class _ColumnLayout:
    """Layout of a file.

    Attributes:
        tabs: Whether tabs separate columns, not blanks.
        columns: Number of columns.
        words: Index of the column of words.
        tags: Index of the column of tags.
        bare: Whether tags are types without prefixes.
    """

    tabs: bool
    columns: int
    words: int
    tags: int
    bare: bool


class Conll(Format):
    """Words and tags in columns."""

    name = "conll"
    description = "a word and its tag a line: CoNLL, WNUT, Twitter-2015/2017, Twitter-GMNER, FMNERG"
    suffixes = (".conll", ".bio", ".iob", ".iob2", ".conllu")
    holds_pictures = False

    def recognises(self, path: Path, head: str) -> bool:
        """Tell whether nearly all lines have the same number of columns, one of them of tags."""
        complete, _, rest = head.rpartition("\n")
        lines = (complete or rest).split("\n")
        try:
            _find_layout(path, [line.removesuffix("\r") for line in lines], ReadOptions())
        except FormatError:
            return False
        return True

    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield a record for each block of lines.

        Raises:
            FormatError: No column holds tags, or ``columns`` names one that is not there.
        """
        lines = [line.removesuffix("\r") for line in read_text(path).split("\n")]
        layout = _find_layout(path, lines, options)
        blocks = list(_blocks(lines, layout, notes))
        notes.found.append(_describe(layout, blocks))
        pictures = PictureFinder(options.pictures or path.parent, options.pictures is None)
        for number, block in enumerate(blocks, start=1):
            try:
                record = _to_record(block, layout, str(number), options.tag_names)
            except MalformedLine as error:
                yield BadPost.of(f"line {error.line or block.line}", error, block.name)
                continue
            if block.marked and block.name:
                picture = pictures.find(block.name)
                if picture is None:
                    notes.unused["names of pictures (IMGID) that are not found"] += 1
                else:
                    record["image"] = picture
            yield record

    def write(self, records: Iterable[Record], path: Path, notes: Notes) -> None:
        """Write ``IMGID:<id>``, a line ``word<TAB>tag`` for each word, and a blank line.

        `mmie.data.Twitter2017` reads them as posts.
        """
        write_lines(path, _lines(records, notes))


def _find_layout(path: Path, lines: Sequence[str], options: ReadOptions) -> _ColumnLayout:
    """Find the columns of words and tags.

    Raises:
        FormatError: The lines do not have the same number of columns, or no column holds tags.
    """
    unknown = set(options.columns).difference({"words", "tags"})
    if unknown:
        raise FormatError(
            f"--columns names {', '.join(sorted(unknown))}: expected words and tags, each with the "
            "number of a column"
        )
    tabs, rows = _split_lines(lines)
    counts = Counter(map(len, rows))
    width, count = counts.most_common(1)[0] if counts else (0, 0)
    expected = f"{path}: expected lines of a word and a tag with the same number of columns"
    if width < 2:
        raise FormatError(f"{expected}, found none")
    if count < _MIN_SHARE * len(rows) and not options.columns:
        raise FormatError(f"{expected}, found {count} of {len(rows)} with {width}")
    columns = list(zip(*(row for row in rows if len(row) == width), strict=True))
    tags, bare = _tag_column(path, columns, options)
    if "words" in options.columns:
        words = _column_number(options.columns["words"], width)
    else:
        words = _word_column(columns, tags)
    return _ColumnLayout(tabs, width, words, tags, bare)


def _split_lines(lines: Sequence[str]) -> tuple[bool, list[list[str]]]:
    """Return whether tabs separate columns, and the cells of each line of a word.

    A file of nothing but comments has them as rows.
    """
    texts = [line for line in lines if not _is_mark(line)]
    tabs = 2 * sum("\t" in line for line in texts) > len(texts)
    rows, comments = [], []
    for line in texts:
        cells = _cells(line, tabs)
        if cells[0] == _DOCUMENT or cells[0].startswith("#"):
            comments.append(cells)
        else:
            rows.append(cells)
    return tabs, rows or comments


def _is_mark(line: str) -> bool:
    """Tell whether a line is blank or an ``IMGID:`` of a post."""
    return not line.strip(" \t") or (line.startswith(_IMGID) and "\t" not in line.strip())


def _tag_column(
    path: Path, columns: Sequence[Sequence[str]], options: ReadOptions
) -> tuple[int, bool]:
    """Return the column of tags, and whether they lack prefixes.

    Raises:
        FormatError: No column holds tags.
    """
    if "tags" in options.columns:
        index = _column_number(options.columns["tags"], len(columns))
        named = options.tag_names and not any(map(is_tag, set(columns[index])))
        return index, not named and not all(map(is_tag, set(columns[index])))
    shares = [column.count("O") / len(column) for column in columns]
    candidates: list[tuple[bool, float, int]] = []
    for index, column in enumerate(columns):
        cells = Counter(column)
        tags = sum(count for cell, count in cells.items() if is_tag(cell))
        if tags >= _MIN_SHARE * len(column):
            candidates.append((len(cells) > 1, shares[index], index))
    if candidates:
        return max(candidates)[2], False
    share, index = max(zip(shares, range(len(columns)), strict=True))
    if share == 0:
        raise FormatError(
            f"{path}: expected a column of tags such as O, B-PER or I-LOC, found none: "
            "name it by --columns tags=2"
        )
    return index, True


def _column_number(value: str, width: int) -> int:
    """Return the index of a column by its number.

    Raises:
        FormatError: The value is no number of a column.
    """
    if not value.isascii() or not value.isdigit() or not 1 <= int(value[:9]) <= width:
        raise FormatError(
            f"--columns: expected the number of a column, 1 to {width}, found {value}"
        )
    return int(value) - 1


def _word_column(columns: Sequence[Sequence[str]], tags: int) -> int:
    """Return the first column with the most distinct cells, apart from numbers and tags.

    Args:
        columns: Cells of each column.
        tags: Index of the column of tags.
    """
    words, most = -1, -1
    for index, cells in enumerate(columns):
        distinct = set(cells)
        has_numbers = len(cells) > 1 and all(map(str.isdigit, distinct))
        count = 0 if has_numbers else len(distinct)
        if index != tags and count > most:
            words, most = index, count
    return words


def _cells(line: str, tabs: bool) -> list[str]:
    """Return the cells of a line."""
    if tabs:
        if not line.strip():
            return [line]
        return line.rstrip("\t").split("\t")
    return re.split(r"[ \t]+", line.strip(" \t"))


def _blocks(lines: Sequence[str], layout: _ColumnLayout, notes: Notes) -> Iterator[_Block]:
    """Yield the posts of a file.

    In a file with ``IMGID:``, a post reaches from one to the next.
    """
    has_ids = any(line.startswith(_IMGID) and _is_mark(line) for line in lines)
    block: _Block | None = None
    ended = False
    for number, line in enumerate(lines, start=1):
        if _is_mark(line) and line.startswith(_IMGID):
            if block and (block.rows or block.name or block.marked):
                yield block
            name = line.removeprefix(_IMGID).strip()
            block, ended = _Block(number, name, marked=True), False
        elif _is_mark(line) or _cells(line, layout.tabs)[0] == _DOCUMENT:
            if line.strip(" \t"):
                notes.unused[f"marks of documents ({_DOCUMENT})"] += 1
            if block and (block.rows or block.name) and not has_ids:
                yield block
                block = None
            ended = block is not None
        else:
            if block is None:
                block = _Block(number)
            _add_line(block, line, number, layout, notes, ended and has_ids)
    if block and (block.rows or block.name or block.marked):
        yield block


def _add_line(
    block: _Block, line: str, number: int, layout: _ColumnLayout, notes: Notes, after_blank: bool
) -> None:
    """Add a line to a block, as a word or as a comment.

    Args:
        block: The block.
        line: The line.
        number: Its number.
        layout: Layout of the file.
        notes: Receives the number of comments.
        after_blank: Whether a blank line lies between it and words of the same post.
    """
    cells = _cells(line, layout.tabs)
    match = _COMMENT.fullmatch(line) if not block.rows else None
    is_comment = line.startswith("#") and len(cells) != layout.columns
    if not block.rows and (is_comment or (match and "\t" not in line)):
        key = match and (match["key"] or "id")
        if match and key in _ID_KEYS and not block.name:
            block.name = (match["value"] or match["id"] or "").strip()
        else:
            notes.unused["comments"] += 1
        return
    if after_blank and block.rows and block.fault is None:
        found = "more words of the same post"
        block.fault = MalformedLine(f"a line {_IMGID}<id> after a blank line", found, number)
    block.numbers.append(number)
    block.rows.append(cells)


def _to_record(block: _Block, layout: _ColumnLayout, name: str, tag_names: Sequence[str]) -> Record:
    """Return the record of a block.

    Raises:
        MalformedLine: The block has no words, or a line is malformed.
    """
    if block.fault is not None:
        raise block.fault
    if not block.rows:
        raise MalformedLine("words after the id of a post", "none")
    for number, row in zip(block.numbers, block.rows, strict=True):
        if len(row) != layout.columns or not row[layout.words]:
            expected = f"{layout.columns} columns"
            raise MalformedLine(expected, safe_repr(row), number)
        check_utf8(["\t".join(row)], number)
    words = check_words([row[layout.words] for row in block.rows])
    tags = [row[layout.tags] for row in block.rows]
    try:
        entities = read_tags(tags, len(words), tag_names, layout.bare)
    except MalformedLine as error:
        for number, tag in zip(block.numbers, tags, strict=True):
            if error.line is None and not is_tag(tag):
                error.line = number
        raise
    return {"id": block.name or name, "words": list(words), **entities}


def _describe(layout: _ColumnLayout, blocks: Sequence[_Block]) -> str:
    """Say which columns and which scheme a file has."""
    tags: list[str] = []
    for block in blocks:
        for row in block.rows:
            if len(row) == layout.columns:
                tags.append(row[layout.tags])
        tags.append(OUTSIDE)
    scheme = name_scheme(tags)
    if layout.bare:
        scheme = "IO without prefixes"
    separators = "tabs" if layout.tabs else "blanks"
    return (
        f"words in column {layout.words + 1}, tags in column {layout.tags + 1} of "
        f"{layout.columns} ({scheme}), separated by {separators}"
    )


def _lines(records: Iterable[Record], notes: Notes) -> Iterator[str]:
    """Yield the lines of records, and count what they do not hold."""
    for record in records:
        post = post_from_json(without_pictures(record), Path())
        tags = entities_to_tags(post.entities, len(post.words), "bio")
        lines = [f"{word}\t{tag}" for word, tag in zip(post.words, tags, strict=True)]
        if any(_BREAKS.search(part) for part in (post.id, *post.words, *tags)):
            notes.unused["posts with a tab or a line end in a word, type or id"] += 1
            continue
        count_unheld(record, _HELD, notes)
        count_probabilities({"entities": record.get("entities")}, notes)
        yield "\n".join([f"{_IMGID}{post.id}", *lines, "", ""])
