"""Reading of cleaned posts in any format, and writing of them in another one."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmie.data.parsing import MalformedLine, Record
from mmie.data.sources import BadPost
from mmie.data.sources.items import error_record, id_of
from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.cleaning import clean_record
from mmie.formats.pictures import PictureMover, PicturePolicy
from mmie.formats.records import list_objects
from mmie.formats.texts import write_lines

RecordWriter = Callable[[Iterable[Record], Path, Notes], None]
"""Function that writes records to a file."""


@dataclass(slots=True)
class Conversion:
    """Result of a conversion.

    Attributes:
        read: What the file was found to be, what of it was not used, and what was changed.
        posts: Number of posts that were written.
        bad: Posts that could not be read.
        types: Number of entities by type.
        labels: Number of relations by label.
    """

    read: Notes = field(default_factory=Notes)
    posts: int = 0
    bad: list[BadPost] = field(default_factory=list)
    types: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)

    def count(self, record: Record) -> None:
        """Count a post that is written."""
        self.posts += 1
        for entity in list_objects(record, "entities"):
            self.types[entity["type"]] += 1
        for relation in list_objects(record, "relations"):
            self.labels[relation["label"]] += 1


def read_posts(
    format: Format, path: Path, options: ReadOptions, notes: Notes
) -> Iterator[Record | BadPost]:
    """Yield a cleaned record, or a `BadPost`, for each post of a file, in order.

    Paths of pictures are as the format's reader yields them.

    Raises:
        FormatError: The file cannot be read at all.
    """
    for number, item in enumerate(format.read(path, options, notes), start=1):
        if isinstance(item, BadPost):
            yield item
            continue
        try:
            yield clean_record({"id": str(number), **item}, notes)
        except MalformedLine as error:
            yield BadPost.of(f"post {number}", error, id_of(item))


def convert_file(
    source: Path,
    target: Path,
    format: Format,
    write: RecordWriter,
    options: ReadOptions,
    pictures: PicturePolicy | None = "link",
) -> Conversion:
    """Convert a file or folder to another format.

    Posts that cannot be read are listed in ``<target>.errors.jsonl``.

    Args:
        source: The file or folder.
        target: File or folder to write.
        format: Format of ``source``.
        write: Writer of ``target``.
        options: How to read ``source``.
        pictures: What happens to pictures outside of the folder of ``target``; None if the format
            of ``target`` holds none.

    Raises:
        FormatError: The file cannot be read or written at all, has no posts, or none can be read.
        OSError: The file or a picture cannot be written.
    """
    result = Conversion()
    folder = source if source.is_dir() else source.parent
    mover: PictureMover | None = None
    if pictures is not None:
        mover = PictureMover(options.pictures or folder, target.parent, pictures)
    posts = read_posts(format, source, options, result.read)
    records = _readable_records(posts, mover, result, f"{source}: expected {format.name}")
    write(records, target, result.read)
    if not result.bad:
        errors_file(target).unlink(missing_ok=True)
        return result
    lines = []
    for bad in result.bad:
        lines.append(json.dumps(error_record(bad)) + "\n")
    write_lines(errors_file(target), lines)
    return result


def _readable_records(
    posts: Iterable[Record | BadPost], mover: PictureMover | None, result: Conversion, expected: str
) -> Iterator[Record]:
    """Yield the records to write, and collect the posts that cannot be read.

    Args:
        posts: Result of `read_posts`.
        mover: Mover of their pictures; None leaves them as they are.
        result: Receives counts and posts that cannot be read.
        expected: Start of the error where no post can be read.

    Raises:
        FormatError: The file has no post, or none can be read.
    """
    for post in posts:
        if isinstance(post, BadPost):
            result.bad.append(post)
            continue
        try:
            moved = post if mover is None else mover.move(post, result.read)
        except MalformedLine as error:
            result.bad.append(BadPost.of(f"post '{post['id']}'", error, id_of(post)))
            continue
        result.count(moved)
        yield moved
    if result.posts:
        return
    if not result.bad:
        raise FormatError(f"{expected}, found no post")
    first = result.bad[0]
    raise FormatError(f"{expected}, found no post that can be read; {first.place}: {first.reason}")


def errors_file(target: Path) -> Path:
    """Return the file that lists the posts which could not be read."""
    return target.with_name(f"{target.stem}.errors.jsonl")
