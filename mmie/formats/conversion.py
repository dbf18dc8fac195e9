"""Reading of cleaned posts in any format, and writing of them in another one."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmie.data.parsing import MalformedLine, Record
from mmie.data.sources import BadPost
from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.cleaning import clean_record
from mmie.formats.pictures import PictureMover, PicturePolicy
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
        entities, relations = record.get("entities"), record.get("relations")
        if isinstance(entities, list):
            self.types.update(item["type"] for item in entities)
        if isinstance(relations, list):
            self.labels.update(item["label"] for item in relations)


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
            yield BadPost(f"post {number}", str(error))


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
    mover = PictureMover(options.pictures or folder, target.parent, pictures or "leave")

    def records() -> Iterator[Record]:
        for item in read_posts(format, source, options, result.read):
            if isinstance(item, BadPost):
                result.bad.append(item)
                continue
            try:
                moved = mover.move(item, result.read) if pictures else item
            except MalformedLine as error:
                result.bad.append(BadPost(f"post '{item['id']}'", str(error)))
                continue
            result.count(moved)
            yield moved
        if not result.bad and not result.posts:
            raise FormatError(f"{source}: expected {format.name}, found no post")
        if not result.posts:
            first = result.bad[0]
            raise FormatError(
                f"{source}: expected {format.name}, found no post that can be read; "
                f"{first.place}: {first.reason}"
            )

    write(records(), target, result.read)
    if result.bad:
        lines = (json.dumps({"place": bad.place, "reason": bad.reason}) for bad in result.bad)
        write_lines(errors_file(target), (f"{line}\n" for line in lines))
    else:
        errors_file(target).unlink(missing_ok=True)
    return result


def errors_file(target: Path) -> Path:
    """Return the file that lists the posts which could not be read."""
    return target.with_name(f"{target.stem}.errors.jsonl")
