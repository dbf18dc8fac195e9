"""Posts in a Parquet file, with the columns of `mmie.data.corpora.rows`.

Spans count words where there is a column of words, and else the characters of ``text``. Keys other
than those of a post are columns, too. One whose values have no common type holds JSON. Pictures may
be bytes. `mmie.data.DatasetCorpus` trains from such files.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmie.data.corpora.base import CorpusError
from mmie.data.corpora.rows import find_columns
from mmie.data.embedded import picture_file
from mmie.data.parsing import MalformedLine, Record, check_words
from mmie.data.sources import BadPost
from mmie.data.sources.items import id_of
from mmie.data.values import is_missing, objects_of, parse_json_cell, plain_value
from mmie.formats.base import Format, FormatError, Notes, ReadOptions
from mmie.formats.cleaning import in_words
from mmie.formats.keys import describe_parts
from mmie.formats.pictures import PICTURES, image_keys
from mmie.formats.tagging import read_tags
from mmie.formats.texts import parse_json
from mmie.utils.files import atomic_write
from mmie.utils.optional import require
from mmie.utils.text import first_line, safe_repr

_MAGIC = b"PAR1"
_LISTS = ("entities", "relations", "images", "crops")
_JSON = {b"mmie": b"json"}
"""Metadata of a column that holds JSON."""


class Parquet(Format):
    """Parquet files."""

    name = "parquet"
    description = "Parquet: a row per post, with the columns of a corpus of rows"
    suffixes = (".parquet",)

    def recognises(self, path: Path, head: str) -> bool:
        """Tell whether the file begins as Parquet does."""
        if not path.is_file():
            return False
        with path.open("rb") as stream:
            return stream.read(len(_MAGIC)) == _MAGIC

    def read(self, path: Path, options: ReadOptions, notes: Notes) -> Iterator[Record | BadPost]:
        """Yield a record for each row.

        Raises:
            FormatError: The file is no Parquet, or no column holds a text or words.
            MissingPackageError: pyarrow is not installed.
        """
        pa = require("pyarrow", "datasets")
        try:
            file = require("pyarrow.parquet", "datasets").ParquetFile(path)
            schema = file.schema_arrow
            parts = find_columns(schema.names, options.columns, str(path))
            # extension types are not read: Ray has one that runs code from the file
            kept = [f.name for f in schema if not isinstance(f.type, pa.BaseExtensionType)]
            lost = [column for column in parts.values() if column not in kept]
            if lost:
                raise FormatError(f"{path}: expected plain values, found extension types in {lost}")
            notes.found.append(describe_parts(parts, "column"))
            reader = _Reader(parts, schema, options.pictures or path.parent, options.tag_names)
            number = 0
            for batch in file.iter_batches(columns=kept):
                for row in batch.to_pylist():
                    number += 1
                    yield reader.read(row, number)
        except (CorpusError, OSError, pa.ArrowException) as error:
            raise FormatError(f"{path}: {first_line(error)}") from None

    def write(self, records: Iterable[Record], path: Path, notes: Notes) -> None:
        """Write a row for each record.

        All rows have a text, or all have words. Texts are left out if one record has words.

        Raises:
            MissingPackageError: pyarrow is not installed.
        """
        pa, parquet = require("pyarrow", "datasets"), require("pyarrow.parquet", "datasets")
        rows = list(records)
        if any("words" in row for row in rows):
            for row in rows:
                notes.unused["texts beside the words that are written"] += "text" in row
            rows = list(map(in_words, rows))
        names: dict[str, None] = {}
        for row in rows:
            names |= dict.fromkeys(row)
        fields, arrays = [], []
        for name in names:
            field, array = _column(pa, name, [row.get(name) for row in rows])
            fields.append(field)
            arrays.append(array)
        table = pa.table(arrays, schema=pa.schema(fields))
        atomic_write(path, lambda partial: parquet.write_table(table, partial))


class _Reader:
    """Conversion of rows to records.

    Args:
        parts: Columns by the part of a post.
        schema: Arrow schema of the file.
        folder: Folder that paths of pictures are relative to.
        tag_names: Names of tags in the order of their ids.
    """

    def __init__(
        self, parts: Mapping[str, str], schema: Any, folder: Path, tag_names: Sequence[str]
    ) -> None:
        self._parts = parts
        self._folder = folder
        self._tag_names = tag_names
        self._json = {field.name for field in schema if field.metadata == _JSON}

    def read(self, row: Mapping[str, Any], number: int) -> Record | BadPost:
        """Convert a row."""
        try:
            return self._to_record(row, number)
        except MalformedLine as error:
            return BadPost.of(f"row {number}", error, id_of(row, self._parts.get("id", "id")))

    def _to_record(self, row: Mapping[str, Any], number: int) -> Record:
        """Convert a row.

        Raises:
            MalformedLine: A cell has another type than its column is to have.
        """
        record: Record = {"id": number}
        for column, cell in row.items():
            if column not in self._parts.values() and not is_missing(cell):
                record[column] = parse_json(cell) if column in self._json else plain_value(cell)
        for part, column in self._parts.items():
            cell = row[column]
            if part in PICTURES:
                continue
            value = plain_value(cell)
            if part in _LISTS and isinstance(value, str):
                value = parse_json_cell(value, f"'{part}' to be a list or its JSON")
            if not is_missing(value):
                record[part] = _without_nulls(objects_of(value)) if part in _LISTS else value
        tags = record.pop("tags", None)
        if tags is not None:
            if not isinstance(tags, list):
                raise MalformedLine("a list of tags", safe_repr(tags))
            num_words = len(check_words(record.get("words")))
            record |= read_tags(tags, num_words, self._tag_names, False)
        return record | self._pictures(row)

    def _pictures(self, row: Mapping[str, Any]) -> Record:
        """Return the files of the pictures of a row.

        Raises:
            MalformedLine: A value is no picture, or its path leads out of the folder.
        """
        lists: dict[str, list[object]] = {}
        for part in PICTURES:
            cell = row.get(self._parts.get(part, ""))
            if part != "image" and isinstance(cell, str):
                cell = parse_json_cell(cell, f"{part!r} to be a list or its JSON")
            if part == "image" and not isinstance(cell, list):
                cell = [cell]
            if not isinstance(cell, list | None):
                raise MalformedLine(f"{part!r} to be a list of pictures", safe_repr(cell))
            lists[part] = []
            for value in cell or []:
                if is_missing(value):
                    continue
                file = value if isinstance(value, str) else picture_file(value, self._folder)
                if file is not None:
                    lists[part].append(file)
        images = image_keys([*lists["image"], *lists["images"]])
        pictures: Record = {**images, "crops": lists["crops"]}
        return {key: value for key, value in pictures.items() if value}


def _without_nulls(value: Any) -> Any:
    """Return objects without the keys that Arrow adds because other objects have them."""
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def _column(pa: Any, name: str, values: Sequence[object]) -> tuple[Any, Any]:
    """Return the field and the values of a column, as JSON where Arrow would change the values."""
    try:
        array = pa.array(values)
        if name in _LISTS or array.to_pylist() == list(values):
            return pa.field(name, array.type), array
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        pass
    texts = [None if value is None else json.dumps(value) for value in values]
    return pa.field(name, pa.string(), metadata=_JSON), pa.array(texts, pa.string())
