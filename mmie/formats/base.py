"""Contract of annotation formats: what reads and writes posts as records.

A record is the JSON object of `mmie.data.post_json`, with ``words`` (offsets count words) or with
``text`` (offsets count characters). It may hold further keys, which formats keep where they can.
Entities and relations may have a ``probability``.

A reader yields spans as the file has them. `mmie.formats.cleaning` afterwards trims blanks, leaves
out what overlaps and names posts that the package cannot hold. ``image`` and ``crops`` are paths
relative to the folder of the file (or to the folder itself, or to ``ReadOptions.pictures``), or
absolute. Writers receive paths relative to the folder of the written file.
"""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from mmie.data.parsing import Record
from mmie.data.sources import BadPost
from mmie.types import MmieError


class FormatError(MmieError, ValueError):
    """File that a format cannot read or write at all."""


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How to read a file, where the file does not say so itself.

    Attributes:
        columns: Column or key by the part of a post (``id``, ``words``, ``tags``, ``text``,
            ``entities``, ``relations``, ``image``, ``context``, or another one that the format
            describes), for those that are not found by name or content.
        tag_names: Names of tags in the order of their ids.
        split: Split to read, of a format that holds several.
        pictures: Folder that paths of pictures are relative to; None takes that of the file.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    tag_names: tuple[str, ...] = ()
    split: str | None = None
    pictures: Path | None = None


@dataclass(slots=True)
class Notes:
    """What a format found out about a file, and what it did not use, with counts.

    Attributes:
        found: Sentences such as "words in column 1, tags in column 4 (BIO)".
        unused: Number of places by the kind of content that was not used.
        remarks: Number of places by anything else that is worth a look, such as trimmed spans.
    """

    found: list[str] = field(default_factory=list)
    unused: Counter[str] = field(default_factory=Counter)
    remarks: Counter[str] = field(default_factory=Counter)


class Format(ABC):
    """Annotation format of another program.

    Attributes:
        name: Name of the format on the command line.
        description: Content in one line, for the help.
        suffixes: Suffixes of its files, lower case. A format of folders has none.
        writes: Whether it is written, too.
        holds_pictures: Whether a written file can name pictures.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    suffixes: ClassVar[tuple[str, ...]] = ()
    writes: ClassVar[bool] = True
    holds_pictures: ClassVar[bool] = True

    @abstractmethod
    def recognises(self, path: Path, head: str) -> bool:
        """Tell whether a file or folder has this format.

        Args:
            path: The file or folder.
            head: First characters of the file, empty for a folder or a binary file.
        """

    @abstractmethod
    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield a record, or a `BadPost`, for each post of a file, in order.

        Raises:
            FormatError: The file cannot be read at all.
        """

    def write(self, records: Iterable[Record], path: Path, notes: Notes) -> None:
        """Write records to a file or folder atomically.

        Args:
            records: Cleaned records with ``text`` or ``words``: see `mmie.formats.cleaning`.
            path: The file or folder.
            notes: Receives what the format cannot hold.

        Raises:
            FormatError: The format is only read.
        """
        raise FormatError(f"{self.name} is only read: choose another format to write")
