"""Base classes of corpora: splits, their posts, and the labels that they use.

`Corpus` reads each split once, turns malformed posts into errors or skips them, and makes ids
unique. A reader of text files is a subclass of `FileCorpus` that implements three methods:
`_text_files` lists the files that may hold a split, `_records` groups the lines of a file to
records, and `_to_post` parses a record. `mmie.data.corpora.rows` reads rows of tables.
"""

import os
import warnings
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from mmie.data.parsing import (
    LinkedFolder,
    MalformedLine,
    check_utf8,
    expand_user,
    read_lines,
    unique_ids,
)
from mmie.data.sources import BadPost
from mmie.data.sources.items import list_names
from mmie.data.text_files import is_blank
from mmie.types import SPLITS, MmieError, Post, Split, Task

_MAX_FILES = 12
"""Possible text files that an error lists."""
_MAX_LISTED = 3
"""Skipped lines that a warning lists."""


class CorpusError(MmieError, ValueError):
    """Corpus that cannot be read.

    The message is one line: where, what was expected, what was found.
    """


class Corpus(ABC):
    """Posts in up to three splits, and the labels that they use.

    Args:
        root: Folder that holds the corpus, or that paths of pictures are relative to.
        strict: Whether a malformed post is an error. Otherwise it is skipped and listed in
            `skipped`.
        max_missing: Largest share of the named pictures that may be missing or unreadable. Set-up
            raises if there are more.
        follow_links: Whether links may lead to pictures outside the folder, as in the caches of the
            hub, DVC and git-annex. Only for data of one's own: a link can show any file.
    """

    def __init__(
        self,
        root: str | Path,
        strict: bool = True,
        max_missing: float = 1.0,
        follow_links: bool = False,
    ) -> None:
        folder = expand_user(root)
        self.root: Path = LinkedFolder(folder) if follow_links else folder
        self.strict = strict
        self.max_missing = max_missing
        self.skipped: dict[Split, list[str]] = {}
        self.repeated_ids: dict[Split, list[str]] = {}
        self._posts: dict[Split, list[Post]] = {}

    @property
    def name(self) -> str:
        """Short name, as in file names and tables."""
        return type(self).__name__.lower()

    @property
    def note(self) -> str:
        """Remark that reports print beside scores of the corpus. Empty if there is none."""
        return ""

    @property
    @abstractmethod
    def tasks(self) -> tuple[Task, ...]:
        """Tasks that the corpus has labels for."""

    @property
    def entity_types(self) -> tuple[str, ...]:
        """Entity types in the order of their tag ids. Empty without NER."""
        return ()

    @property
    def relation_labels(self) -> tuple[str, ...]:
        """Relation labels in the order of their ids, ``None`` first. Empty without RE."""
        return ()

    @property
    @abstractmethod
    def splits(self) -> tuple[Split, ...]:
        """Splits that the corpus has."""

    @abstractmethod
    def place(self, split: Split) -> str:
        """Return where a split is read from, for messages.

        Raises:
            CorpusError: The corpus does not have the split.
        """

    def row_of_picture(self, picture: Path) -> str | None:
        """Return the row that holds a picture as bytes, for messages, or None for a file."""
        return None

    def posts(self, split: Split) -> list[Post]:
        """Return the posts of a split in their order. The split is read once.

        Raises:
            CorpusError: The split is missing, or a post is malformed and the corpus is ``strict``.
        """
        if split not in self._posts:
            self._posts[split] = self._read(split)
        return self._posts[split]

    def published_counts(self, split: Split) -> dict[str, int]:
        """Count the entities of a split by type, as the tables of the papers count them."""
        return dict(count_entity_types(self.posts(split)))

    @abstractmethod
    def _items(self, split: Split) -> Iterator[Post | BadPost]:
        """Yield the posts of a split, and a `BadPost` in place of each malformed one.

        Raises:
            CorpusError: The split is missing or cannot be read.
        """

    def _training_posts(self) -> list[Post]:
        """Return the posts of the training split, or none if there is no such split."""
        return self.posts("train") if "train" in self.splits else []

    def _read(self, split: Split) -> list[Post]:
        """Read the posts of a split.

        Raises:
            CorpusError: The split is missing, or a post is malformed and the corpus is ``strict``.
        """
        posts: list[Post] = []
        skipped: list[str] = []
        for item in self._items(split):
            if isinstance(item, Post):
                posts.append(item)
                continue
            message = f"{item.place}: {item.reason}"
            if self.strict:
                raise CorpusError(message)
            skipped.append(message)
        self.skipped[split] = skipped
        if skipped:
            _warn_of_skipped(self.place(split), skipped)
        counts = Counter(post.id for post in posts)
        self.repeated_ids[split] = [name for name, count in counts.items() if count > 1]
        return unique_ids(posts)


class FileCorpus(Corpus):
    """Posts in a text file for each split.

    Args:
        root: Folder that holds the splits' texts.
        strict: Whether a malformed line is an error. Otherwise its post is skipped and listed in
            `skipped`.
        max_missing: Largest share of the named pictures that may be missing or unreadable.
        follow_links: Whether links may lead to pictures outside the folder, as in the caches of the
            hub, DVC and git-annex. Only for data of one's own: a link can show any file.

    Raises:
        CorpusError: The folder does not exist or holds no split.
    """

    def __init__(
        self,
        root: str | Path,
        strict: bool = True,
        max_missing: float = 1.0,
        follow_links: bool = False,
    ) -> None:
        super().__init__(root, strict, max_missing, follow_links)
        if not self.root.is_dir():
            raise CorpusError(
                f"{self.root}: expected the folder of {self.name}, found no such folder"
            )
        if not self.splits:
            raise CorpusError(
                f"{self.root}: expected at least one split, "
                f"found none of {self._describe_text_files(SPLITS)}; {self._describe_root()}"
            )

    @property
    def splits(self) -> tuple[Split, ...]:
        """Splits whose text file exists."""
        return tuple(split for split in SPLITS if self._find_text_file(split) is not None)

    def place(self, split: Split) -> str:
        """Return the path of the split's file."""
        return str(self.text_file(split))

    def text_file(self, split: Split) -> Path:
        """Return the file that holds the text of a split.

        Raises:
            CorpusError: The split has no file.
        """
        file = self._find_text_file(split)
        if file is None:
            raise CorpusError(
                f"{self.root}: expected the {split} split, "
                f"found none of {self._describe_text_files([split])}; {self._describe_root()}"
            )
        return file

    @abstractmethod
    def _text_files(self, split: Split) -> Sequence[Path]:
        """Return the files that may hold a split, the preferred one first."""

    @abstractmethod
    def _to_post(self, split: Split, number: int, lines: list[str]) -> Post:
        """Parse a record.

        Args:
            split: Split of the record.
            number: 1-based number of its first line.
            lines: Its lines.

        Raises:
            MalformedLine: The record does not follow the layout.
        """

    def _records(self, lines: Iterable[str]) -> Iterator[tuple[int, list[str]]]:
        """Yield the number of the first line and the lines of each record.

        By default each line that is not blank is a record.
        """
        for number, line in enumerate(lines, start=1):
            if not is_blank(line):
                yield number, [line]

    def _find_text_file(self, split: Split) -> Path | None:
        """Return the preferred text file of a split that exists, or None.

        Blanks, and upper and lower case, do not count in its name.
        """
        listings: dict[Path, dict[str, Path]] = {}
        for file in self._text_files(split):
            if file.is_file():
                return file
        for file in self._text_files(split):
            if file.parent not in listings:
                listings[file.parent] = _files_by_plain_name(file.parent)
            found = listings[file.parent].get(_plain_name(file))
            if found is not None:
                return found
        return None

    def _items(self, split: Split) -> Iterator[Post | BadPost]:
        file = self.text_file(split)
        for number, lines in self._records(_read_text(file)):
            try:
                check_utf8(lines, number)
                yield self._to_post(split, number, lines)
            except MalformedLine as error:
                yield BadPost.of(f"{file}:{error.line or number}", error)

    def _describe_text_files(self, splits: Iterable[Split]) -> str:
        """List the files that may hold some splits, relative to the root."""
        names: list[str] = []
        for split in splits:
            names += [os.path.relpath(file, self.root) for file in self._text_files(split)]
        listed = ", ".join(names[:_MAX_FILES])
        return f"{listed} ..." if len(names) > _MAX_FILES else listed

    def _describe_root(self) -> str:
        """Say what the folder of the corpus holds."""
        names = sorted(
            f"{path.name}/" if path.is_dir() else path.name for path in self.root.iterdir()
        )
        return f"the folder holds {list_names(names) or 'nothing'}"


def count_entity_types(posts: Iterable[Post]) -> Counter[str]:
    """Count the entities of posts by type."""
    return Counter(entity.type for post in posts for entity in post.entities)


def count_relation_labels(posts: Iterable[Post]) -> Counter[str]:
    """Count the relations of posts by label."""
    return Counter(relation.label for post in posts for relation in post.relations)


def _plain_name(file: Path) -> str:
    """Return a file's name in lower case and without blanks."""
    return "".join(file.name.split()).casefold()


def _files_by_plain_name(folder: Path) -> dict[str, Path]:
    """Map the plain names of the files of a folder, which need not exist, to the files."""
    if not folder.is_dir():
        return {}
    files = (path for path in sorted(folder.iterdir()) if path.is_file())
    return {_plain_name(file): file for file in files}


def _read_text(file: Path) -> list[str]:
    """Read the lines of a split's file.

    Raises:
        CorpusError: The file cannot be read.
    """
    try:
        return read_lines(file)
    except OSError as error:
        raise CorpusError(
            f"{file}: expected a text that can be read, found {error.strerror or error}"
        ) from None


def _warn_of_skipped(place: str, skipped: Sequence[str]) -> None:
    """Warn once of the posts that were skipped, and list the first ones."""
    listed = "; ".join(skipped[:_MAX_LISTED])
    if len(skipped) > _MAX_LISTED:
        listed += f" ... and {len(skipped) - _MAX_LISTED} more"
    warnings.warn(f"{place}: {len(skipped)} malformed posts skipped: {listed}", stacklevel=4)
