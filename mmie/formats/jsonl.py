"""Posts as the package's own JSON lines, with or without probabilities.

See `mmie.data.post_json` and `mmie.data.records`. All keys are kept.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from mmie.data.parsing import MalformedLine, Record, check_utf8
from mmie.data.post_json import parse_record
from mmie.data.sources import BadPost
from mmie.data.sources.items import find_id
from mmie.data.sources.json_texts import split_json
from mmie.data.text_files import read_text_lines
from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.texts import first_json_line, write_lines
from mmie.utils.text import describe_os_error

_TEXTS = ("words", "text")
_LISTS = {"entities": {"start", "end", "type"}, "relations": {"head", "tail", "label"}}
"""Keys of the objects in a post's lists."""


class JsonLines(Format):
    """The package's own format."""

    name = "jsonl"
    description = "mmie's JSON lines: posts of a corpus, or results of mmie extract"
    suffixes = (".jsonl", ".ndjson")

    def recognises(self, path: Path, head: str) -> bool:
        """Tell whether the first line is a JSON object with the keys of a post."""
        record = first_json_line(head)
        if not isinstance(record, dict) or not any(key in record for key in _TEXTS):
            return False
        for key, expected in _LISTS.items():
            items = record.get(key)
            if items is None:
                continue
            if not isinstance(items, list):
                return False
            for item in items:
                if not isinstance(item, dict) or not expected <= item.keys():
                    return False
        return isinstance(record.get("text", ""), str) and isinstance(record.get("words", []), list)

    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield each object, as `mmie.data.sources.json_texts.split_json` finds them.

        Raises:
            FormatError: The file cannot be read.
        """
        if options.columns:
            raise FormatError(f"{self.name} takes no --columns: name another format by --from")
        try:
            with path.open("rb") as stream:
                for number, text in split_json(read_text_lines(stream)):
                    yield _parse_line(text, number)
        except OSError as error:
            raise FormatError(describe_os_error(error)) from None

    def write(self, records: Iterable[Record], path: Path, notes: Notes) -> None:
        """Write a line for each record."""
        write_lines(path, (json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def _parse_line(line: str, number: int) -> Record | BadPost:
    """Parse a line."""
    try:
        check_utf8([line], number)
        return {"id": str(number), **parse_record(line)}
    except MalformedLine as error:
        return BadPost.of(f"line {number}", error, find_id(line))
