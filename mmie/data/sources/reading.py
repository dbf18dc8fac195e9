"""Reading of a source of posts, whatever its form."""

import sys
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from mmie.data.parsing import LinkedFolder, MalformedLine
from mmie.data.post_json import parse_post
from mmie.data.sources.first_row import DELIMITERS
from mmie.data.sources.folders import list_folder, read_folder
from mmie.data.sources.items import BadPost, SourceError, find_id, warn_of_ignored
from mmie.data.sources.json_texts import split_json
from mmie.data.sources.tables import read_table
from mmie.data.text_files import read_text_lines, undecodable
from mmie.types import Post

STANDARD_INPUT = "-"
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_BLOCK = 2**20
"""Bytes that are read at a time to count lines."""


@dataclass(frozen=True, slots=True)
class SourceOptions:
    """How a source is read.

    Attributes:
        delimiter: Delimiter of a table; None takes that of its suffix, or finds it in the first
            row.
        follow_links: Whether links may lead to files outside the folder of the pictures. This is
            for the owner of the data: a stranger's links could show any file.
    """

    delimiter: str | None = None
    follow_links: bool = False


DEFAULT_OPTIONS = SourceOptions()


def read_source(
    source: str, pictures: Path | None = None, options: SourceOptions = DEFAULT_OPTIONS
) -> Iterator[Post | BadPost]:
    """Return an iterator over the posts of a source in their order, each read on demand.

    Args:
        source: A file, a folder, or ``-``.
        pictures: Folder that pictures' paths are relative to; None takes that of the file, or the
            working directory for standard input.
        options: How the source is read.

    Raises:
        SourceError: The source does not exist or is of another kind.
    """
    folder_type = LinkedFolder if options.follow_links else Path
    if source == STANDARD_INPUT:
        return _read_json(None, folder_type(pictures or Path.cwd()))
    path = Path(source)
    if path.is_dir():
        return read_folder(folder_type(path))
    if not path.is_file():
        raise SourceError(f"{source}: expected a file or a folder of posts, found none")
    root = folder_type(pictures or path.parent)
    suffix = path.suffix.lower()
    if suffix in DELIMITERS:
        return _read_lines(path, root, options.delimiter)
    if suffix in _JSON_LINES:
        return _read_json(path, root)
    raise SourceError(f"{source}: expected a folder, or a file named .jsonl, .json, .csv or .tsv")


def count_posts(source: str) -> int | None:
    """Estimate the number of posts of a source, for a progress bar.

    Returns:
        The number of lines or files; None for standard input, and for JSON that is not in lines.
    """
    if source == STANDARD_INPUT:
        return None
    path = Path(source)
    if path.is_dir():
        return len(list_folder(path).stems)
    if path.suffix.lower() == ".json":
        return None
    lines = 0
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK):
            lines += block.count(b"\n")
    if path.suffix.lower() in DELIMITERS:
        lines -= 1  # the row of columns
    return max(lines, 1)


def _read_json(path: Path | None, root: Path) -> Iterator[Post | BadPost]:
    """Yield a post for every JSON object.

    Args:
        path: File of JSON; None is standard input.
        root: Folder that pictures' paths are relative to.

    Raises:
        SourceError: The file is an array that is no valid JSON.
    """
    ignored: set[str] | None = set()
    is_document = path is not None and path.suffix.lower() == ".json"
    with nullcontext(sys.stdin.buffer) if path is None else path.open("rb") as stream:
        texts = split_json(read_text_lines(stream), is_document)
        while True:
            try:
                number, text = next(texts)
            except StopIteration:
                return
            except MalformedLine as error:
                raise SourceError(f"{path}:{error.line}: {error}") from None
            yield _parse_json(text, str(number), root, ignored)
            if ignored:
                warn_of_ignored(f"line {number}: unknown keys are kept, not read", ignored)
                ignored = None  # one warning is enough


def _parse_json(text: str, place: str, root: Path, ignored: set[str] | None) -> Post | BadPost:
    """Parse a JSON object.

    Args:
        text: The object.
        place: Number of its line, which is its id if it has none.
        root: Folder that pictures' paths are relative to.
        ignored: Set to which unknown keys are added; None drops them.
    """
    bad = undecodable(text)
    if bad is not None:
        return BadPost(place, f"expected UTF-8 text, found {bad}", "encoding", find_id(text))
    try:
        return parse_post(text, root, place, ignored)
    except MalformedLine as error:
        return BadPost.of(place, error, find_id(text))


def _read_lines(path: Path, root: Path, delimiter: str | None) -> Iterator[Post | BadPost]:
    """Yield a post for every row of a table, whose file is open until the last one."""
    with path.open("rb") as stream:
        yield from read_table(read_text_lines(stream), path, root, delimiter)
