"""What every corpus offers, how its files are read, and the checks that all readers share.

A reader is a subclass of `Corpus` that says which files hold a split (`_text_files`), how their lines make records
(`_records`) and how a record makes a `Post` (`_to_post`). The base class reads a split once, turns malformed lines into
errors or skips them, and keeps ids unique.
"""

import os
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from mmie.types import SPLITS, Entity, MmieError, Post, Split, Task

_SHOWN = 3
"""Skipped lines that a warning spells out."""
_LONGEST = 160
"""Characters of a file's text that an error repeats."""


class CorpusError(MmieError, ValueError):
    """A corpus cannot be read; the message is one line: where, what was expected, what was found."""


class MalformedLine(ValueError):
    """A line is not what its layout says.

    Args:
        expected: What the layout asks for.
        found: What is there; long values are shortened.
        line: 1-based number of the line, if it is not the first line of its record.
    """

    def __init__(self, expected: str, found: str, line: int | None = None) -> None:
        super().__init__(f"expected {expected}, found {cut(found)}")
        self.line = line


class Corpus(ABC):
    """Posts in up to three splits, and the labels they use.

    Args:
        root: Folder that holds the splits' texts.
        strict: Whether a malformed line stops the reading; else its post is skipped, and `skipped` says so.
        max_missing: Largest share of the named pictures that may be missing or unreadable; set-up refuses more.

    Raises:
        CorpusError: There is no such folder, or no split in it.
    """

    def __init__(self, root: str | Path, strict: bool = True, max_missing: float = 1.0) -> None:
        self.root = expand_user(root)
        self.strict = strict
        self.max_missing = max_missing
        self.skipped: dict[Split, list[str]] = {}
        self._posts: dict[Split, list[Post]] = {}
        if not self.root.is_dir():
            raise CorpusError(
                f"{self.root}: expected the folder of {self.name}, found no such folder"
            )
        if not self.splits:
            raise CorpusError(
                f"{self.root}: expected at least one split, found none of {self._looked_for(SPLITS)}"
            )

    @property
    def name(self) -> str:
        """Short name, as in file names and tables."""
        return type(self).__name__.lower()

    @property
    @abstractmethod
    def tasks(self) -> tuple[Task, ...]:
        """The tasks that the corpus has labels for."""

    @property
    def entity_types(self) -> tuple[str, ...]:
        """Entity types, in the order of their tag ids; empty without NER."""
        return ()

    @property
    def relation_labels(self) -> tuple[str, ...]:
        """Relation labels, ``None`` first, in the order of their ids; empty without RE."""
        return ()

    @property
    def splits(self) -> tuple[Split, ...]:
        """The splits whose text is there."""
        return tuple(
            split for split in SPLITS if any(file.is_file() for file in self._text_files(split))
        )

    def text_file(self, split: Split) -> Path:
        """The file that holds the text of a split.

        Raises:
            CorpusError: There is none.
        """
        for file in self._text_files(split):
            if file.is_file():
                return file
        raise CorpusError(
            f"{self.root}: expected the {split} split, found none of {self._looked_for([split])}"
        )

    def posts(self, split: Split) -> list[Post]:
        """The posts of a split, in the order of its file; read once.

        Raises:
            CorpusError: The split's file is missing, or, if ``strict``, a line is malformed.
        """
        if split not in self._posts:
            self._posts[split] = self._read(split)
        return self._posts[split]

    def published_counts(self, split: Split) -> dict[str, int]:
        """Entities per type of a split, counted as the tables of the papers count them."""
        return dict(Counter(entity.type for post in self.posts(split) for entity in post.entities))

    @abstractmethod
    def _text_files(self, split: Split) -> Sequence[Path]:
        """The files that may hold a split, the preferred one first."""

    @abstractmethod
    def _to_post(self, split: Split, number: int, lines: list[str]) -> Post:
        """The post that a record spells; ``number`` is the 1-based number of its first line.

        Raises:
            MalformedLine: The record is not what the layout says.
        """

    def _records(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Number of the first line and lines of every record; here every line that is not blank is one."""
        return ((number, [line]) for number, line in enumerate(lines, start=1) if line.strip())

    def _read(self, split: Split) -> list[Post]:
        """The posts of a split, read from its file."""
        file = self.text_file(split)
        posts, skipped = [], []
        for number, lines in self._records(_lines_of_split(file)):
            try:
                _check_encoding(number, lines)
                posts.append(self._to_post(split, number, lines))
            except MalformedLine as error:
                message = f"{file}:{error.line or number}: {error}"
                if self.strict:
                    raise CorpusError(message) from None
                skipped.append(message)
        self.skipped[split] = skipped
        if skipped:
            _warn_of_skipped(file, skipped)
        return unique_ids(posts)

    def _looked_for(self, splits: Iterable[Split]) -> str:
        """Names, within the root, of the files that may hold the splits."""
        return ", ".join(
            os.path.relpath(file, self.root) for split in splits for file in self._text_files(split)
        )


def read_lines(file: Path) -> list[str]:
    r"""The lines of a UTF-8 file, without a byte order mark and without ``\n`` or ``\r\n``.

    Only these end a line: real posts hold other characters that `str.splitlines` would break a word at. Bytes that are
    not UTF-8 come out as surrogates, for the reader to refuse with the number of their line.
    """
    text = file.read_bytes().decode("utf-8", errors="surrogateescape").removeprefix("\ufeff")
    return [line.removesuffix("\r") for line in text.split("\n")]


def expand_user(path: str | Path) -> Path:
    """The path with ``~`` spelled out; as it is where there is no such user."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        return Path(path)


def unique_ids(posts: Iterable[Post]) -> list[Post]:
    """The posts, with ``#2``, ``#3``... behind an id that was there before."""
    seen: set[str] = set()
    unique = []
    for post in posts:
        name, copy = post.id, 1
        while name in seen:
            copy += 1
            name = f"{post.id}#{copy}"
        seen.add(name)
        unique.append(post if name == post.id else replace(post, id=name))
    return unique


def first_existing(candidates: Sequence[Path]) -> Path:
    """The first path that exists, else the first one."""
    return next((path for path in candidates if path.exists()), candidates[0])


def picture_path(folder: Path, name: object) -> Path:
    """Path of the picture ``name`` in ``folder``; it need not exist.

    Raises:
        MalformedLine: ``name`` is no file name, or leads out of ``folder`` (by ``..``, a root, or a link).
    """
    if not isinstance(name, str) or not name or "\0" in name or not _is_utf8(name):
        raise MalformedLine("the name of a picture file", shown(name))
    path = folder / name
    try:
        inside = bool(path.resolve().relative_to(folder.resolve()).parts)
    except (
        ValueError,
        OSError,
        RuntimeError,
    ):  # another folder; a path too long to follow; a loop of links
        inside = False
    if not inside:
        raise MalformedLine("a picture inside its folder", f"{name!r}, which leads out of {folder}")
    return path


def cut(text: str) -> str:
    """The beginning of a text, for an error of one line."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def shown(value: object) -> str:
    """A value of a file, for an error; one that Python refuses to spell out, by its kind."""
    try:
        return repr(value)
    except (ValueError, RecursionError):  # an integer of thousands of digits; nesting without end
        return f"a {type(value).__name__} too large to show"


def check_words(words: object) -> tuple[str, ...]:
    """``words`` as a tuple of strings.

    Raises:
        MalformedLine: There is none, or one is no string, empty, or cannot be written as UTF-8.
    """
    if not isinstance(words, list) or not words:
        raise MalformedLine("a list of at least one word", shown(words))
    for position, word in enumerate(words):
        if not isinstance(word, str) or not word or not _is_utf8(word):
            raise MalformedLine("words that are not empty", f"{shown(word)} as word {position}")
    return tuple(words)


def check_name(name: object, what: str) -> str:
    """``name`` as a string that files can hold: an id, a type or a label.

    Raises:
        MalformedLine: It is no string, empty, or cannot be written as UTF-8.
    """
    if not isinstance(name, str) or not name or not _is_utf8(name):
        raise MalformedLine(what, shown(name))
    return name


def unique_keys(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object of its keys and values, for ``json.loads``, which would keep the last value of a key alone.

    Raises:
        MalformedLine: A key is there twice.
    """
    record: dict[str, Any] = {}
    for key, value in pairs:
        if key in record:
            raise MalformedLine("each key once", f"{key!r} twice")
        record[key] = value
    return record


def check_span(start: object, end: object, length: int, what: str) -> tuple[int, int]:
    """``start`` and ``end`` as integers with ``0 <= start < end <= length``.

    Raises:
        MalformedLine: They are not.
    """
    if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
        raise MalformedLine(
            f"{what} with 0 <= start < end <= {length}", f"start {shown(start)}, end {shown(end)}"
        )
    return start, end


def check_disjoint(entities: Iterable[Entity]) -> tuple[Entity, ...]:
    """The entities in order of their start.

    Raises:
        MalformedLine: Two of them share a word.
    """
    ordered = tuple(sorted(entities))
    for left, right in pairwise(ordered):
        if right.start < left.end:
            raise MalformedLine("entities that share no word", f"{left} and {right}")
    return ordered


def load_crop_index(candidates: Sequence[Path]) -> dict[str, list[str]]:
    """Crop files by image file (Twitter) or line number (MNRE) as published; empty if there is no index.

    The index is a pickle: it is loaded with ``weights_only=True``, which builds containers, numbers and strings only.

    Raises:
        CorpusError: The file holds something else.
    """
    file = first_existing(candidates)
    if not file.exists():
        return {}
    try:
        index = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch.load raises almost anything on what is no pickle
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CorpusError(
            f"{file}: expected a dictionary of crop files, found what cannot be loaded ({reason})"
        ) from None
    if not isinstance(index, dict) or not all(_is_list_of_str(crops) for crops in index.values()):
        raise CorpusError(
            f"{file}: expected a dictionary with lists of crop files, found other values"
        )
    return {str(key): list(crops) for key, crops in index.items()}


def _lines_of_split(file: Path) -> list[str]:
    """As `read_lines`.

    Raises:
        CorpusError: The file cannot be read.
    """
    try:
        return read_lines(file)
    except OSError as error:
        raise CorpusError(
            f"{file}: expected a text that can be read, found {error.strerror or error}"
        ) from None


def _is_list_of_str(value: object) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)


def _is_utf8(text: str) -> bool:
    """Whether the text can be written as UTF-8: it holds no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_encoding(number: int, lines: Iterable[str]) -> None:
    """Raise on a line whose bytes were not UTF-8."""
    for line_number, line in enumerate(lines, start=number):
        if not _is_utf8(line):
            raise MalformedLine("UTF-8 text", ascii(line), line_number)


def _warn_of_skipped(file: Path, skipped: Sequence[str]) -> None:
    """Say once how many posts were skipped, and why the first ones were."""
    more = f" ... and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
    warnings.warn(
        f"{file}: {len(skipped)} malformed posts skipped: {'; '.join(skipped[:_SHOWN])}{more}",
        stacklevel=4,
    )
