"""Posts in JSON lines or Parquet files as Arrow rows, and extractions as Arrow rows.

Files lie on this machine or in object storage. A JSON line is a post as `mmie.data.sources` reads
it. A Parquet row has the same keys as columns, which may be absent or null, and its ``image``,
``images`` and ``crops`` may be the bytes of pictures. Further columns of strings and numbers are
kept.
"""

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from mmie.data.embedded import is_embedded
from mmie.data.parsing import LinkedFolder, MalformedLine
from mmie.data.post_json import KEYS, RESULT_KEYS, parse_post
from mmie.data.sources import SourceError
from mmie.data.sources.first_row import DELIMITERS
from mmie.data.sources.json_texts import split_json
from mmie.data.text_files import read_text_lines, undecodable
from mmie.inference.formats.text import to_json
from mmie.inference.jobs.kept_keys import kept_keys
from mmie.types import Extraction, Post
from mmie.utils.optional import require
from mmie.utils.text import first_line, replace_surrogates

COLUMNS = ("id", "text", "words", "image", "images", "crops", "context", "entities", "relations")
"""Columns of a Parquet file that are read."""
MAX_PICTURE_BYTES = 100_000_000
"""Largest number of bytes read of a picture in object storage; a larger one counts as truncated."""
_EXTRA = "extra"
"""Column of the keys and columns of posts that are not read."""
_KEPT_COLUMNS = (
    "words",
    "image",
    "images",
    "crops",
    "context",
    "gold_entities",
    "gold_relations",
    _EXTRA,
)
"""Columns of what results keep of their posts."""
Bytes = list[bytes] | None
"""Bytes of pictures; None where they are paths, or where there are none."""
_PARQUET = ".parquet"
_JSON_LINES = (".jsonl", ".ndjson", ".json")
_PARQUET_BATCH = 256
"""Rows of a Parquet file that are read at a time."""
UNREADABLE = "post: expected "
"""Beginning of the problem of a post that could not be read at all."""


class SourceFiles(NamedTuple):
    """Files of posts.

    Attributes:
        files: Their paths on the file system, in order.
        folder: Path or URL of the folder that holds them.
        states: Path, size in bytes and time of change in nanoseconds of each file.
    """

    files: tuple[str, ...]
    folder: str
    states: tuple[tuple[str, int, int], ...] = ()


def resolve_location(location: str) -> tuple[Any, str]:
    """Return the ``pyarrow`` file system of a path or URL, and the path on it.

    Args:
        location: A path, or a URL such as ``s3://``, ``gs://`` or ``file://``.

    Raises:
        SourceError: pyarrow has no file system for the location.
    """
    fs = require("pyarrow.fs", "ray")
    uri = location if "://" in location else os.path.abspath(location)
    try:
        filesystem, path = fs.FileSystem.from_uri(uri)
    except (ValueError, OSError, NotImplementedError) as error:
        raise _unusable(location, error) from error
    return filesystem, path


def list_source(location: str) -> SourceFiles:
    """List the files of a source: one file, or all files of a folder at any depth, sorted by name.

    Raises:
        SourceError: The source does not exist, holds no posts, or mixes both kinds of files.
    """
    fs = require("pyarrow.fs", "ray")
    filesystem, path = resolve_location(location)
    try:
        info = filesystem.get_file_info(path)
        infos = [info]
        is_folder = info.type == fs.FileType.Directory
        if is_folder:
            infos = filesystem.get_file_info(fs.FileSelector(path, recursive=True))
    except OSError as error:
        raise _unusable(location, error) from error
    if info.type == fs.FileType.NotFound:
        raise SourceError(f"'{location}' does not exist")
    infos = [entry for entry in infos if entry.path.endswith((_PARQUET, *_JSON_LINES))]
    states = sorted((entry.path, entry.size, entry.mtime_ns) for entry in infos)
    files = [file for file, _, _ in states]
    if not files:
        tables = " and ".join(DELIMITERS)
        raise SourceError(
            f"'{location}' holds no .parquet and no .jsonl file: {tables} are read without Ray"
        )
    num_parquet = sum(file.endswith(_PARQUET) for file in files)
    if 0 < num_parquet < len(files):
        raise SourceError(
            f"'{location}' holds both .parquet and .jsonl files: "
            "name one of them, or a folder of one kind"
        )
    folder = location if is_folder else _parent(location)
    return SourceFiles(tuple(files), folder, tuple(states))


def row_schema() -> Any:
    """Return the Arrow schema of posts.

    ``name`` names a post without an id, and ``line`` is a JSON line. ``pictures`` holds the bytes
    of pictures that replace the line's ``image`` and ``images``, and ``crops`` those of its crops.
    """
    pa = require("pyarrow", "ray")
    pictures = pa.list_(pa.large_binary())
    return pa.schema(
        [
            ("name", pa.string()),
            ("line", pa.large_binary()),
            ("pictures", pictures),
            ("crops", pictures),
        ]
    )


def result_schema() -> Any:
    """Return the Arrow schema of extractions: the keys of `to_json`, always with ``problems``.

    The keys of `mmie.inference.jobs.kept_keys` follow. JSON in ``extra`` holds those that are not
    read.
    """
    pa = require("pyarrow", "ray")
    mention = [
        ("text", pa.string()),
        ("type", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
    ]
    probability = ("probability", pa.float64())
    triple = [
        ("head", pa.struct(mention)),
        ("label", pa.string()),
        ("tail", pa.struct(mention)),
        probability,
    ]
    return pa.schema(
        [
            ("id", pa.string()),
            ("text", pa.string()),
            ("entities", pa.list_(pa.struct([*mention, probability]))),
            ("relations", pa.list_(pa.struct(triple))),
            ("problems", pa.list_(pa.string())),
            ("words", pa.list_(pa.string())),
            ("image", pa.string()),
            ("images", pa.list_(pa.string())),
            ("crops", pa.list_(pa.string())),
            ("context", pa.string()),
            ("gold_entities", pa.list_(pa.struct(mention))),
            ("gold_relations", pa.list_(pa.struct(triple[:-1]))),
            (_EXTRA, pa.string()),
        ]
    )


def read_rows(filesystem: Any, file: str, prefix: str = "") -> Iterator[dict[str, Any]]:
    """Yield the rows of `row_schema` of a file.

    Args:
        filesystem: File system of the file.
        file: Its path.
        prefix: Beginning of the rows' names, which end in the number of the line or row, from 1.

    Raises:
        SourceError: The file cannot be read.
    """
    read = _read_parquet if file.endswith(_PARQUET) else _read_json_lines
    try:
        for number, line, pictures, crops in read(filesystem, file):
            name = f"{prefix}{number}"
            yield {"name": name, "line": line, "pictures": pictures, "crops": crops}
    except OSError as error:
        raise _unusable(file, error) from error


def row_to_post(
    row: Mapping[str, Any], filesystem: Any, folder: str, follow_links: bool = False
) -> Post[Any] | str:
    """Convert a row to a post, or return what is wrong with it.

    Args:
        row: A row of `row_schema`.
        filesystem: File system of the pictures.
        folder: Folder of the pictures there; no picture outside it is opened.
        follow_links: Whether links may lead out of it.
    """
    line = row["line"].decode(errors="surrogateescape")
    bad = undecodable(line)
    if bad is not None:
        return f"{UNREADABLE}UTF-8 text, found {bad}"
    root = LinkedFolder(folder) if follow_links else Path(folder)
    try:
        post: Post[Any] = parse_post(line, root, row["name"])
    except MalformedLine as error:
        return f"post: {replace_surrogates(str(error))}"
    images: Sequence[Any] = row["pictures"] or post.images
    crops: Sequence[Any] = row["crops"] or post.crops
    if filesystem.type_name != "local":
        images = [_fetch(image, filesystem) for image in images]
        crops = [_fetch(crop, filesystem) for crop in crops]
    image, more_images = (images[0], tuple(images[1:])) if images else (None, ())
    return replace(post, image=image, more_images=more_images, crops=tuple(crops))


def extraction_to_row(
    extraction: Extraction, line: bytes = b"{}", post: Post[Any] | None = None
) -> dict[str, Any]:
    """Convert an extraction to a row of `result_schema`.

    Args:
        extraction: The extraction.
        line: JSON line of the post, whose paths of pictures are kept as they are. A picture that
            came as bytes is not.
        post: The post; None if it could not be read.
    """
    row: dict[str, Any] = {**dict.fromkeys(_KEPT_COLUMNS), "problems": []}
    row |= to_json(replace(extraction, extra={}))
    if post is None:
        return row
    record = json.loads(line)
    pictures = {key: record.get(key) for key in ("image", "images", "crops")}
    kept = kept_keys(extraction, post, pictures)
    extra = {key: kept.pop(key) for key in list(kept) if key not in KEYS | RESULT_KEYS}
    if extra:
        kept[_EXTRA] = json.dumps(extra)
    return row | kept


def _parent(location: str) -> str:
    """Return the folder of a file's path or URL, which keeps its query."""
    if "://" in location:
        address, mark, query = location.partition("?")
        return f"{address.rpartition('/')[0]}{mark}{query}"
    folder = location.rpartition("/")[0]
    if folder:
        return folder
    return "/" if location.startswith("/") else "."


def _read_parquet(filesystem: Any, file: str) -> Iterator[tuple[int, bytes, Bytes, Bytes]]:
    """Yield number, JSON line, and bytes of pictures and of crops of each row of a Parquet file.

    Extension types are refused: Ray has one that runs code from the file when a value is read.

    Raises:
        SourceError: The file is not Parquet, or lacks a column or has columns of other types.
    """
    pa, parquet = require("pyarrow", "ray"), require("pyarrow.parquet", "ray")
    with filesystem.open_input_file(file) as stream:
        try:
            table = parquet.ParquetFile(stream)
        except ValueError as error:
            raise _unusable(file, error) from error
        fields = [field for field in table.schema_arrow if _is_kept(pa, field)]
        types = {field.name: field.type for field in fields}
        if not {"text", "words"} & types.keys():
            raise SourceError(f"'{file}' has neither a column 'text' nor a column 'words'")
        if any(isinstance(type_, pa.BaseExtensionType) for type_ in types.values()):
            raise SourceError(
                f"'{file}' has columns of an extension type: "
                "expected plain strings, lists and bytes"
            )
        number = 0
        for batch in table.iter_batches(_PARQUET_BATCH, columns=list(types)):
            for record in batch.to_pylist():
                number += 1
                yield number, *_record_to_line(record)


def _is_kept(pa: Any, field: Any) -> bool:
    """Tell whether a column is one of a post, or holds strings or numbers."""
    if field.name in COLUMNS:
        return True
    kind = field.type
    if isinstance(kind, pa.BaseExtensionType):
        return False
    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return bool(is_text or pa.types.is_primitive(kind))


def _record_to_line(record: dict[str, Any]) -> tuple[bytes, Bytes, Bytes]:
    """Convert a row of a Parquet file to a JSON line and the bytes of its pictures and crops.

    Pictures, or crops, of which some are bytes and others are paths make the line malformed.
    """
    image, images = _content_or_path(record.get("image")), record.get("images")
    further = [_content_or_path(value) for value in images or ()]
    values = further if image is None else [image, *further]
    pictures = [value for value in values if isinstance(value, bytes)]
    record["image"] = None if isinstance(image, bytes) else image
    if images is not None or pictures:
        record["images"] = [None if isinstance(value, bytes) else value for value in values]
    if len(pictures) == len(values):
        record["images"] = None
    crops: list[bytes] = []
    if isinstance(record.get("crops"), list):
        values = [_content_or_path(value) for value in record["crops"]]
        crops = [value for value in values if isinstance(value, bytes)]
        record["crops"] = [None if isinstance(value, bytes) else value for value in values]
        if len(crops) == len(values):
            record["crops"] = None
    present = {key: value for key, value in record.items() if value is not None}
    return json.dumps(present, default=str).encode(), pictures or None, crops or None


def _content_or_path(value: Any) -> Any:
    """Return the bytes or the path of a picture as data sets of Hugging Face hold it."""
    if isinstance(value, dict):
        return value.get("bytes") or value.get("path")
    return value


def _read_json_lines(filesystem: Any, file: str) -> Iterator[tuple[int, bytes, None, None]]:
    """Yield number and content of each JSON object.

    Raises:
        SourceError: The file is an array that is no valid JSON.
    """
    with filesystem.open_input_stream(file) as stream:
        lines = read_text_lines(io.BufferedReader(stream, 1 << 20))
        try:
            for number, text in split_json(lines, file.endswith(".json")):
                yield number, text.encode(errors="surrogateescape"), None, None
        except MalformedLine as error:
            raise SourceError(f"{file}:{error.line}: {error}") from None


def _fetch(picture: Path | bytes, filesystem: Any) -> Path | bytes:
    """Read the bytes of a picture, or return its path, which does not exist here, on failure.

    A picture that the post itself holds, in a ``data:`` URI, is a file of this machine.
    """
    if isinstance(picture, bytes) or is_embedded(picture):
        return picture
    try:
        with filesystem.open_input_stream(PurePosixPath(picture).as_posix()) as stream:
            content: bytes = stream.read(MAX_PICTURE_BYTES)
    except OSError:
        return picture
    return content


def _unusable(location: str, error: Exception) -> SourceError:
    """Build the error for a location that pyarrow cannot use."""
    return SourceError(f"'{location}' cannot be used: {first_line(error)}")
